/** What names a connection when it is made. */
export interface ConnectionIdentity {
  readonly id: string;
  /** Number of the connection within its node. */
  readonly ordinal: number;
  readonly lastEventId: string | undefined;
}
