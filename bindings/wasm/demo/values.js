/* Sizes and the first values of a tensor, as text. */

export function formatSize(size) {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
    let unit = 0, value = size;
    while (value >= 1024 && unit < units.length - 1) {
        value /= 1024;
        unit++;
    }
    return unit === 0 ? `${size} B` : `${value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

export function formatCount(count) {
    return count.toLocaleString('en');
}

function fromBits(sign, exponent, fraction, bias, fractionBits) {
    const value = exponent === 0 ? fraction * 2 ** (1 - bias - fractionBits)
                                 : (1 + fraction / 2 ** fractionBits) * 2 ** (exponent - bias);
    return sign === 0 ? value : -value;
}

function half(bits) {
    const exponent = (bits >> 10) & 31, fraction = bits & 1023;
    if (exponent !== 31) return fromBits(bits >> 15, exponent, fraction, 15, 10);
    return fraction !== 0 ? NaN : bits >> 15 ? -Infinity : Infinity;
}

function float8(bits, exponentBits, bias) {
    const fractionBits = 7 - exponentBits, most = (1 << exponentBits) - 1;
    const exponent = (bits >> fractionBits) & most, fraction = bits & ((1 << fractionBits) - 1);
    if (exponentBits === 5 && exponent === most)
        return fraction !== 0 ? NaN : bits >> 7 ? -Infinity : Infinity;
    if (exponentBits === 4 && (bits & 127) === 127) return NaN;
    return fromBits(bits >> 7, exponent, fraction, bias, fractionBits);
}

function bfloat(bits) {
    const view = new DataView(new ArrayBuffer(4));
    view.setUint32(0, bits << 16);
    return view.getFloat32(0);
}

/* Bytes of an element, and how it is read from a view of them. */
const ELEMENTS = {
    BOOL: [1, (view, at) => view.getUint8(at) !== 0],
    U8: [1, (view, at) => view.getUint8(at)],
    I8: [1, (view, at) => view.getInt8(at)],
    F8_E5M2: [1, (view, at) => float8(view.getUint8(at), 5, 15)],
    F8_E4M3: [1, (view, at) => float8(view.getUint8(at), 4, 7)],
    F8_E8M0: [1, (view, at) => (view.getUint8(at) === 255 ? NaN : 2 ** (view.getUint8(at) - 127))],
    I16: [2, (view, at) => view.getInt16(at, true)],
    U16: [2, (view, at) => view.getUint16(at, true)],
    F16: [2, (view, at) => half(view.getUint16(at, true))],
    BF16: [2, (view, at) => bfloat(view.getUint16(at, true))],
    I32: [4, (view, at) => view.getInt32(at, true)],
    U32: [4, (view, at) => view.getUint32(at, true)],
    F32: [4, (view, at) => view.getFloat32(at, true)],
    F64: [8, (view, at) => view.getFloat64(at, true)],
    I64: [8, (view, at) => view.getBigInt64(at, true)],
    U64: [8, (view, at) => view.getBigUint64(at, true)],
};

export const FIRST_SIZE = 256;

function hex(bytes) {
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

function write(value) {
    if (typeof value !== 'number' || Number.isInteger(value)) return String(value);
    return String(Number(value.toPrecision(6)));
}

/** The first values of a tensor: {text, what}. Dtypes that are not decoded here are shown as bytes. */
export async function firstValues(tensor) {
    const size = Math.min(tensor.size, FIRST_SIZE);
    const bytes = await tensor.read({ begin: 0, end: size });
    const element = ELEMENTS[tensor.dtype];
    if (element === undefined) return { text: hex(bytes), what: `first ${size} bytes` };
    const [width, read] = element;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const values = [];
    for (let at = 0; at + width <= size && values.length < 64; at += width)
        values.push(write(read(view, at)));
    const what = values.length === 1 ? 'its value' : `first ${values.length} values`;
    return { text: values.join('  '), what };
}
