const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Whether a text is a UUID in the form of RFC 9562, of any version; letters of either case. */
export const isUuid = (text: string): boolean => UUID.test(text);
