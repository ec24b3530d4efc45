/**
 * Entity keys and where their records live. Pure.
 *
 *   entity key: for each join key in declared order   tag  length  bytes
 *     tag 1 = int64: minimal big-endian two's complement (0 is one byte)      7   → 01 01 07
 *     tag 2 = string: UTF-8 of the text in NFC                               "7" → 02 01 37
 *   length is an unsigned LEB128 varint. No two keys share bytes: parts are self-delimiting.
 *
 *   online key: <environment>:{<entity>:<entity key in base64url>}   a Redis hash; the braces keep it in one slot
 *   its fields: the view version's id in decimal, holding one record (record.ts)
 */
import type { Entity } from '../definition.js';
import { FeatureStoreError } from '../error.js';
import type { Value } from '../event.js';
import { INT64_RANGE, type Int64, isInt64, narrow } from '../int64.js';

const INT64 = 1;
const STRING = 2;
const MAX_TEXT_BYTES = 1024;
/** Of a whole key: an index row of Postgres holds some 2,700. */
const MAX_KEY_BYTES = 2048;
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

/**
 * @param parts values of the entity's join keys, in its order
 * Throws FS_KEY_INVALID for a null, a wrong type, a number beyond 64 bits, a lone surrogate, text over 1,024 bytes,
 * or a key over 2,048 bytes.
 */
export function encodeKey(entity: Entity, parts: readonly Value[]): Uint8Array {
  const bytes: number[] = [];
  entity.keys.forEach((key, index) => {
    const part = parts[index] ?? null;
    const body = key.type === 'int64' ? encodeInt(key.name, part) : encodeText(key.name, part);
    bytes.push(key.type === 'int64' ? INT64 : STRING);
    let length = body.length;
    while (length > 127) {
      bytes.push((length & 127) | 128);
      length >>>= 7;
    }
    bytes.push(length);
    for (const byte of body) bytes.push(byte);
    if (bytes.length > MAX_KEY_BYTES)
      refuse(key.name, part, `short enough for a whole key of at most ${MAX_KEY_BYTES} bytes`);
  });
  return Uint8Array.from(bytes);
}

/** The join key values of an entity key made by encodeKey. */
export function decodeKey(entity: Entity, key: Uint8Array): Array<string | Int64> {
  let at = 0;
  return entity.keys.map(() => {
    const tag = key[at++];
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = key[at++] ?? 0;
      length |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    const body = key.subarray(at, at + length);
    at += length;
    if (tag === STRING) return decoder.decode(body);
    let value = BigInt((body[0] ?? 0) >= 128 ? -1 : 0);
    for (const byte of body) value = (value << 8n) | BigInt(byte);
    return narrow(value);
  });
}

export function onlineKey(environment: string, entity: string, key: Uint8Array): string {
  return `${environment}:{${entity}:${base64url(key)}}`;
}

function encodeInt(name: string, part: Value): number[] {
  if (!isInt64(part)) return refuse(name, part, INT64_RANGE);
  const bytes: number[] = [];
  let rest = BigInt(part);
  do {
    bytes.unshift(Number(rest & 255n));
    rest >>= 8n;
  } while (!((rest === 0n && bytes[0]! < 128) || (rest === -1n && bytes[0]! >= 128)));
  return bytes;
}

function encodeText(name: string, part: Value): Uint8Array {
  if (typeof part !== 'string') return refuse(name, part, 'a text');
  if (!part.isWellFormed()) return refuse(name, part, 'well-formed Unicode');
  const bytes = encoder.encode(part.normalize('NFC'));
  if (bytes.length > MAX_TEXT_BYTES) return refuse(name, part, `at most ${MAX_TEXT_BYTES} bytes`);
  return bytes;
}

function refuse(name: string, part: Value, wanted: string): never {
  throw new FeatureStoreError(
    'FS_KEY_INVALID',
    `join key "${name}" is ${part === null ? 'null' : typeof part === 'string' ? `text of ${part.length} characters` : `${typeof part} ${String(part)}`}, not ${wanted}`,
    { fix: `give ${name} as ${wanted}`, column: name },
  );
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

function base64url(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 3) {
    const group = (bytes[i]! << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    const characters = Math.min(4, Math.ceil(((bytes.length - i) * 8) / 6));
    for (let j = 0; j < characters; j++) text += ALPHABET[(group >>> (18 - 6 * j)) & 63];
  }
  return text;
}
