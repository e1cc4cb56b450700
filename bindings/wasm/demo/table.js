/*
 * A table of which only the rows in sight are in the page. Browsers limit the height of an element,
 * far above what 10^6 rows take.
 */

const COLUMNS = [
    { key: 'name', title: 'Name', type: 'name' },
    { key: 'dtype', title: 'Dtype', type: 'dtype' },
    { key: 'shape', title: 'Shape', type: 'shape' },
    { key: 'size', title: 'Size', type: 'number' },
    { key: 'shard', title: 'Shard', type: 'number shard-cell' },
];

const collator = new Intl.Collator('en', { numeric: true });

/* The order in which rows are to be shown, by one of their facts. */
function sorted(rows, key, descending) {
    const order = Array.from(rows);
    const { lists } = key;
    if (key.name === 'name') {
        /* A name has a rank, so that the collator looks at each name few times. */
        lists.ranks ??= rankNames(lists.name);
        order.sort((a, b) => lists.ranks[a] - lists.ranks[b]);
    } else if (key.name === 'dtype') {
        order.sort((a, b) => (lists.dtype[a] < lists.dtype[b] ? -1 : +(lists.dtype[a] > lists.dtype[b])) || a - b);
    } else if (key.name === 'shape') {
        order.sort((a, b) => lists.elements[a] - lists.elements[b] || a - b);
    } else {
        order.sort((a, b) => lists[key.name][a] - lists[key.name][b] || a - b);
    }
    return descending ? order.reverse() : order;
}

function rankNames(names) {
    const order = Array.from(names.keys());
    order.sort((a, b) => collator.compare(names[a], names[b]));
    const ranks = new Uint32Array(names.length);
    order.forEach((place, rank) => (ranks[place] = rank));
    return ranks;
}

/* What tells names apart is at both ends: layers in front, parts of a layer behind. */
function cutMiddle(text, fit) {
    if (text.length <= fit) return text;
    const signs = Array.from(text); // no halves of UTF-16 pairs
    const tail = Math.ceil((fit - 1) * 0.6), head = Math.max(fit - 1 - tail, 0);
    return `${signs.slice(0, head).join('')}…${signs.slice(-tail).join('')}`;
}

function make(tag, attributes, text) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
}

export class Table {
    /** `lists` has a list for each fact; `format.size` writes a size. */
    constructor(element, lists, { format, onSelect, shards }) {
        this.element = element;
        this.lists = lists;
        this.format = format;
        this.onSelect = onSelect;
        this.columns = shards ? COLUMNS : COLUMNS.slice(0, 4);
        this.all = Array.from(lists.name.keys());
        this.shown = this.all;
        this.order = this.all;
        this.sort = { key: null, descending: false };
        this.selected = -1; // its place among those shown
        this.pool = [];
        this.build(shards);
    }

    build(shards) {
        const { element } = this;
        element.replaceChildren();
        element.classList.toggle('with-shards', shards);
        element.tabIndex = 0;
        element.setAttribute('role', 'grid');
        element.setAttribute('aria-label', 'Tensors');
        this.head = make('div', { class: 'row head', role: 'row', 'aria-rowindex': 1 });
        for (const { key, title, type } of this.columns) {
            const cell = make('div', { role: 'columnheader', class: type.includes('shard') ? 'shard-cell' : '' });
            const button = make('button', { type: 'button' }, title);
            button.addEventListener('click', () => this.sortBy(key));
            cell.append(button);
            this.head.append(cell);
        }
        this.grid = make('div', { class: 'grid', role: 'rowgroup' });
        element.append(this.head, this.grid);
        this.stop?.abort();
        this.stop = new AbortController();
        const { signal } = this.stop;
        element.addEventListener('scroll', () => this.paint(), { signal, passive: true });
        element.addEventListener('keydown', (event) => this.onKey(event), { signal });
        this.grid.addEventListener('click', (event) => {
            const row = event.target.closest('.item');
            if (row !== null) this.select(Number(row.dataset.at), true);
        }, { signal });
        const observer = new ResizeObserver(() => this.measure());
        observer.observe(element);
        signal.addEventListener('abort', () => observer.disconnect());
        this.measure();
    }

    close() {
        this.stop.abort();
        this.element.replaceChildren();
    }

    /** Rows have three lines on narrow screens, of which a name takes two. */
    measure() {
        const narrow = matchMedia('(max-width: 560px)').matches;
        this.rowHeight = narrow ? 66 : 30;
        this.fit = this.measureNames() * (narrow ? 2 : 1) - 1; // signs of other fonts are wider
        this.update();
    }

    /** The signs of a name that a line has room for. */
    measureNames() {
        const row = this.pool[0] ?? this.makeRow(), { display } = row.style;
        row.style.display = '';
        const cell = row.firstChild, probe = make('span', {}, '0'.repeat(100));
        probe.style.whiteSpace = 'nowrap';
        cell.replaceChildren(probe);
        const fit = Math.floor(cell.clientWidth / (probe.getBoundingClientRect().width / 100));
        row.style.display = display;
        return Number.isFinite(fit) && fit > 8 ? fit : 8;
    }

    update() {
        this.grid.style.height = `${this.order.length * this.rowHeight}px`;
        this.element.setAttribute('aria-rowcount', this.order.length + 1);
        for (const row of this.pool) row.dataset.at = '-1';
        this.paint();
    }

    makeRow() {
        const row = make('div', { class: 'row item', role: 'row' });
        for (const { type } of this.columns) row.append(make('div', { role: 'gridcell', class: type }));
        this.grid.append(row);
        this.pool.push(row);
        return row;
    }

    fill(row, at) {
        const place = this.order[at], { lists } = this;
        const texts = [lists.name[place], lists.dtype[place], lists.shape[place],
                       this.format(lists.size[place]), String(lists.shard[place])];
        const [name] = texts;
        texts[0] = cutMiddle(name, this.fit);
        row.childNodes.forEach((cell, i) => {
            cell.textContent = texts[i];
        });
        row.firstChild.title = name;
        row.firstChild.setAttribute('aria-label', name);
        row.dataset.at = at;
        row.id = `row-${at}`;
        row.setAttribute('aria-rowindex', at + 2);
        row.style.transform = `translateY(${at * this.rowHeight}px)`;
        row.style.height = `${this.rowHeight}px`;
    }

    paint() {
        const { element, rowHeight, order } = this;
        const head = this.head.offsetHeight;
        const first = Math.max(0, Math.floor(element.scrollTop / rowHeight) - 6);
        const count = Math.min(order.length - first,
                               Math.ceil((element.clientHeight - head) / rowHeight) + 12);
        while (this.pool.length < count) this.makeRow();
        /* Rows that stay in sight keep their element. */
        for (const [i, row] of this.pool.entries()) {
            const at = first + ((i - (first % this.pool.length) + this.pool.length) % this.pool.length);
            const visible = at < order.length && at < first + this.pool.length;
            row.hidden = !visible;
            row.style.display = visible ? '' : 'none';
            if (visible && row.dataset.at !== String(at)) this.fill(row, at);
            if (visible) row.setAttribute('aria-selected', at === this.selected);
        }
        if (order.length === 0 && this.nothing === undefined) {
            this.nothing = make('p', { class: 'nothing' }, 'No tensor has that in its name, dtype or shape.');
            element.append(this.nothing);
        } else if (order.length !== 0) {
            this.nothing?.remove();
            this.nothing = undefined;
        }
    }

    /** Shows what holds every word of a query; how many that are. */
    search(query) {
        const words = query.toLowerCase().split(/\s+/).filter((word) => word !== '');
        const { lists } = this;
        lists.text ??= lists.name.map((name, i) =>
            `${name} ${lists.dtype[i]} ${lists.shape[i]}`.toLowerCase());
        this.shown = words.length === 0 ? this.all
            : this.all.filter((i) => words.every((word) => lists.text[i].includes(word)));
        this.arrange();
        this.element.scrollTop = 0;
        return this.shown.length;
    }

    arrange() {
        const { key, descending } = this.sort;
        const place = this.order[this.selected];
        this.order = key === null ? this.shown
                                  : sorted(this.shown, { name: key, lists: this.lists }, descending);
        this.selected = place === undefined ? -1 : this.order.indexOf(place);
        this.update();
    }

    /** First ascending, then descending, then as in the file. */
    sortBy(key) {
        if (this.sort.key !== key) this.sort = { key, descending: false };
        else if (!this.sort.descending) this.sort = { key, descending: true };
        else this.sort = { key: null, descending: false };
        this.columns.forEach((column, i) => {
            const state = column.key !== this.sort.key ? 'none'
                        : this.sort.descending         ? 'descending'
                                                       : 'ascending';
            this.head.children[i].setAttribute('aria-sort', state);
        });
        this.arrange();
    }

    select(at, tell) {
        this.selected = at;
        const top = at * this.rowHeight, { element } = this;
        const space = element.clientHeight - this.head.offsetHeight;
        if (top < element.scrollTop) element.scrollTop = top;
        else if (top + this.rowHeight > element.scrollTop + space)
            element.scrollTop = top + this.rowHeight - space;
        this.paint();
        element.setAttribute('aria-activedescendant', `row-${at}`);
        if (tell) this.onSelect(this.order[at]);
    }

    onKey(event) {
        if (event.target !== this.element || this.order.length === 0) return;
        const page = Math.floor(this.element.clientHeight / this.rowHeight) - 2;
        const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page,
                        Home: -Infinity, End: Infinity };
        const last = this.order.length - 1;
        if (event.key in steps && !event.ctrlKey && !event.altKey && !event.metaKey) {
            const wanted = this.selected + steps[event.key];
            this.select(Math.min(Math.max(wanted, 0), last), true);
            event.preventDefault();
        }
    }
}
