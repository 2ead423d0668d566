/** Messages in one publication, as `send.lua` joins them. */
export function joined(messages: readonly Buffer[]): Buffer {
  const parts = messages.flatMap(message => [Buffer.from(`${message.length} `), message]);
  return Buffer.concat([Buffer.from('+ '), ...parts]);
}
