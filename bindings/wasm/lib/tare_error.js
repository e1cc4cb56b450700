/** What went wrong: a status of the C library with its place, whether C failed or a source. */
export class TareError extends Error {
    /**
     * @param {string} message
     * @param {{status: string, code: number, offset?: number | null, shard?: number | null,
     *          systemError?: number, cause?: unknown}} facts
     */
    constructor(message, facts) {
        super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
        this.name = 'TareError';
        this.status = facts.status;
        this.code = facts.code;
        this.offset = facts.offset ?? null;
        this.shard = facts.shard ?? null;
        this.systemError = facts.systemError ?? 0;
    }
}

/* Of the statuses of tare.h, those that this binding gives by itself. */
const CODES = {
    TARE_E_ARGUMENT: 10,
    TARE_E_MEMORY: 20,
    TARE_E_OPEN: 21,
    TARE_E_READ: 22,
    TARE_E_CHANGED: 24,
    TARE_E_LIMIT: 25,
    TARE_E_UNSUPPORTED: 26,
    TARE_E_TRUNCATED: 31,
    TARE_E_PREBUILT: 65,
};

/** @param {keyof typeof CODES} status @param {string} message @param {object} [facts] */
export function failure(status, message, facts) {
    return new TareError(message, { status, code: CODES[status], ...facts });
}
