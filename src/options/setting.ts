import { z } from 'zod';
import { optionsSchema } from './options-schema.js';

/** One leaf of the settings. */
interface Setting {
  /** Keys joined by dots: `connection.maxConnections`. */
  readonly path: string;
  /** Its name in the environment; `undefined` when it cannot come from there. */
  readonly variable: string | undefined;
  /**
   * Text of the environment as a value; text that is none stays text, for the validation to refuse.
   */
  readonly decode: (text: string) => unknown;
}

/** Every setting, in the order of the schema. */
export function listSettings(): Setting[] {
  return leavesOf(optionsSchema, []);
}

function leavesOf(schema: unknown, path: readonly string[]): Setting[] {
  const bare = unwrap(schema);
  if (bare instanceof z.ZodObject) {
    return Object.entries(bare.shape).flatMap(([key, child]) => leavesOf(child, [...path, key]));
  }
  const decode = decoderOf(bare);
  return [
    {
      path: path.join('.'),
      variable: decode && variableOf(path),
      decode: decode ?? (text => text),
    },
  ];
}

/** `connection.maxConnections` is `SSE_CONNECTION_MAX_CONNECTIONS`. */
function variableOf(path: readonly string[]): string {
  const words = path.map(key => key.replace(/[A-Z]/g, letter => `_${letter}`).toUpperCase());
  return ['SSE', ...words].join('_');
}

/** `undefined` for kinds that text cannot express. */
function decoderOf(schema: unknown): ((text: string) => unknown) | undefined {
  if (schema instanceof z.ZodNumber) return decodeNumber;
  if (schema instanceof z.ZodBoolean) return decodeFlag;
  if (schema instanceof z.ZodEnum) return text => text.trim();
  if (schema instanceof z.ZodString) return text => text;
  if (schema instanceof z.ZodUnion) return decodeNumberOrOff;
  if (schema instanceof z.ZodReadonly) return decodeNames;
  if (schema instanceof z.ZodPipe) return decodeJson;
  return undefined;
}

function unwrap(schema: unknown): unknown {
  const wrapped =
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodOptional;
  return wrapped ? unwrap(schema.unwrap()) : schema;
}

/**
 * Decimal digits only: what `Number` makes of '', '0x10' or '1e3' is not what an operator means.
 */
function decodeNumber(text: string): unknown {
  return /^-?\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : text;
}

function decodeFlag(text: string): unknown {
  const flags: Record<string, boolean> = { true: true, '1': true, false: false, '0': false };
  const word = text.trim().toLowerCase();
  return Object.hasOwn(flags, word) ? flags[word] : text;
}

function decodeNumberOrOff(text: string): unknown {
  return /^(false|off)$/i.test(text.trim()) ? false : decodeNumber(text);
}

function decodeNames(text: string): unknown {
  return text.split(',').map(name => name.trim());
}

function decodeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
