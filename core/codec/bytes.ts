/**
 * Writing and reading the small binary forms of records and snapshots. Varints are unsigned LEB128; signed numbers
 * carry their sign in the first byte's bit 6; u64 is big-endian so that Redis can compare it.
 * Reading past the end, or a number beyond 2^53, throws FS_RECORD_CORRUPT.
 */
import { assert } from '../assert.js';
import { FeatureStoreError } from '../error.js';

const TWO_32 = 2 ** 32;
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Of texts of so many characters, or bytes, those that are ASCII are written and read here. */
const SHORT = 24;

const BLOCK = 65_536;
let block = new Uint8Array(BLOCK);
let blockAt = 0;

export class ByteWriter {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  length = 0;

  u8(value: number): void {
    this.#room(1);
    this.#bytes[this.length++] = value;
  }

  /** @param value whole, 0 to 2^53 - 1 */
  varint(value: number): void {
    this.#room(8);
    // Nearly all of them take a byte or two.
    if ((value & 127) === value) {
      this.#bytes[this.length++] = value;
      return;
    }
    if ((value & 16_383) === value) {
      this.#bytes[this.length++] = (value & 127) | 128;
      this.#bytes[this.length++] = value >>> 7;
      return;
    }
    this.#long(value);
  }

  #long(value: number): void {
    if (!(Number.isSafeInteger(value) && value >= 0)) assert(false, `varint ${value}`);
    while (value > 0x7fffffff) {
      this.#bytes[this.length++] = (value % 128) | 128;
      value = Math.floor(value / 128);
    }
    while (value > 127) {
      this.#bytes[this.length++] = (value & 127) | 128;
      value >>>= 7;
    }
    this.#bytes[this.length++] = value;
  }

  /** First byte: more follows, sign, the low 6 bits; then the rest as a varint. @param value whole, within ±(2^53 - 1) */
  signed(value: number): void {
    if ((value & 0x3fffffff) === value) {
      this.u8(value > 63 ? 128 | (value & 63) : value);
      if (value > 63) this.varint(value >>> 6);
      return;
    }
    if (!Number.isSafeInteger(value)) assert(false, `signed ${value}`);
    const size = Math.abs(value);
    const rest = Math.floor(size / 64);
    this.u8((rest > 0 ? 128 : 0) | (value < 0 ? 64 : 0) | (size % 64));
    if (rest > 0) this.varint(rest);
  }

  /**
   * A whole number of any size, as `signed` writes one that is safe; a larger one is 0x40, which no other begins with (it would be -0),
   * and a bigint.
   */
  whole(value: number | bigint): void {
    if (typeof value === 'number') this.signed(value);
    else {
      this.u8(64);
      this.bigint(value);
    }
  }

  /** @param value whole, 0 to 2^63 as far as a double holds it */
  u64(value: number): void {
    if (!(Number.isInteger(value) && value >= 0)) assert(false, `u64 ${value}`);
    this.#room(8);
    this.#view.setUint32(this.length, Math.floor(value / TWO_32));
    this.#view.setUint32(this.length + 4, value % TWO_32);
    this.length += 8;
  }

  f64(value: number): void {
    this.#room(8);
    this.#view.setFloat64(this.length, value);
    this.length += 8;
  }

  text(value: string): void {
    const start = this.length;
    // To call the encoder costs more than a short text.
    if (value.length <= SHORT) {
      this.varint(value.length);
      this.#room(SHORT);
      let at = 0;
      for (; at < value.length; at++) {
        const code = value.charCodeAt(at);
        if (code > 127) break;
        this.#bytes[this.length++] = code;
      }
      if (at === value.length) return;
      this.length = start;
    }
    this.bytes(encoder.encode(value));
  }

  bigint(value: bigint): void {
    const hex = (value < 0n ? -value : value).toString(16);
    const digits = hex.length % 2 ? `0${hex}` : hex;
    this.varint(digits.length + (value < 0n ? 1 : 0)); // the length is even: its last bit is the sign
    for (let i = 0; i < digits.length; i += 2) this.u8(Number.parseInt(digits.slice(i, i + 2), 16));
  }

  /** With its length before it. */
  bytes(value: Uint8Array): void {
    this.varint(value.length);
    this.raw(value);
  }

  raw(value: Uint8Array): void {
    this.#room(value.length);
    this.#bytes.set(value, this.length);
    this.length += value.length;
  }

  /** What another has written. */
  append(other: ByteWriter): void {
    const { length } = other;
    this.#room(length);
    if (length > 64) this.#bytes.set(other.#bytes.subarray(0, length), this.length);
    else for (let i = 0; i < length; i++) this.#bytes[this.length + i] = other.#bytes[i]!; // a view costs more than these
    this.length += length;
  }

  /** Forgets what was written; the room for it stays. */
  clear(): void {
    this.length = 0;
  }

  /** A copy of what was written. Small ones lie side by side in one block of memory: to make a block for each costs more than to fill it. */
  finish(): Uint8Array {
    const { length } = this;
    if (length > BLOCK / 64) return this.#bytes.slice(0, length);
    if (blockAt + length > BLOCK) {
      block = new Uint8Array(BLOCK);
      blockAt = 0;
    }
    const copy = block.subarray(blockAt, blockAt + length);
    blockAt += length;
    copy.set(this.#bytes.subarray(0, length));
    return copy;
  }

  #room(size: number): void {
    if (this.length + size <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + size));
    larger.set(this.#bytes);
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}

export class ByteReader {
  readonly #view: DataView;
  constructor(
    readonly bytes: Uint8Array,
    public at = 0,
  ) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get done(): boolean {
    return this.at >= this.bytes.length;
  }

  u8(): number {
    this.#need(1);
    return this.bytes[this.at++]!;
  }

  varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8();
      value += (byte & 127) * scale;
      if (value > Number.MAX_SAFE_INTEGER) return corrupt('a number beyond 2^53');
      if (byte < 128) return value;
    }
  }

  signed(): number {
    const first = this.u8();
    return this.#signed(first, first & 128 ? this.varint() : 0);
  }

  #signed(first: number, rest: number): number {
    const size = (first & 63) + rest * 64;
    return first & 64 ? -size : size;
  }

  whole(): number | bigint {
    const first = this.u8();
    if (first === 64) return this.bigint();
    return this.#signed(first, first & 128 ? this.varint() : 0);
  }

  u64(): number {
    this.#need(8);
    const value = this.#view.getUint32(this.at) * TWO_32 + this.#view.getUint32(this.at + 4);
    this.at += 8;
    return value;
  }

  f64(): number {
    this.#need(8);
    const value = this.#view.getFloat64(this.at);
    this.at += 8;
    return value;
  }

  text(): string {
    const end = this.span();
    const start = this.at;
    this.at = end;
    if (end - start <= SHORT) {
      let text = '';
      let at = start;
      for (; at < end && this.bytes[at]! < 128; at++) text += String.fromCharCode(this.bytes[at]!);
      if (at === end) return text;
    }
    return decoder.decode(this.bytes.subarray(start, end));
  }

  bigint(): bigint {
    const length = this.varint();
    let value = 0n;
    for (let i = 0; i < length >> 1; i++) value = (value << 8n) | BigInt(this.u8());
    return length % 2 ? -value : value;
  }

  /** Bytes with their length before them; a view, not a copy. */
  take(): Uint8Array {
    const end = this.span();
    const bytes = this.bytes.subarray(this.at, end);
    this.at = end;
    return bytes;
  }

  /** The length of bytes that follow. @returns where they end */
  span(): number {
    const length = this.varint();
    this.#need(length);
    return this.at + length;
  }

  #need(size: number): void {
    if (this.at + size > this.bytes.length) corrupt(`it ends at byte ${this.bytes.length}`);
  }
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

/** Throws FS_RECORD_CORRUPT. */
export function corrupt(why: string): never {
  throw new FeatureStoreError('FS_RECORD_CORRUPT', `stored bytes cannot be read: ${why}`, {
    fix: 'write them again from the archive: almanac refill <view>',
  });
}
