/** Where a request comes from. */
export interface Client {
  readonly address: string;
  /** The addresses that one client may have, as one text: in IPv6 a whole /64. */
  readonly group: string;
}
