import { z } from 'zod';

const notice = z.strictObject({
  v: z.literal(1),
  t: z.literal('superseded'),
  c: z.string().max(256),
  k: z.string().max(16),
  f: z.string().max(20),
});

/** That another registration took an id over; `register.lua` writes it in the step that does so. */
export interface SupersededNotice {
  readonly connectionId: string;
  readonly token: string;
}

/** `undefined` for anything that `register.lua` cannot have written. */
export function decodeSuperseded(frame: Buffer): SupersededNotice | undefined {
  if (frame.length > 2048) return undefined;
  try {
    const { data } = notice.safeParse(JSON.parse(frame.toString()));
    return data && { connectionId: data.c, token: data.k };
  } catch {
    return undefined;
  }
}
