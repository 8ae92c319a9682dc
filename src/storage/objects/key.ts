/**
 * Object keys come partly from outside, so their alphabet is closed: `[A-Za-z0-9_.-]` parts joined by `/`, no empty part, none that
 * starts with a dot.
 * @throws Error for any other key
 */
export function checkKey(key: string): string {
  if (key.length > 512 || !/^[A-Za-z0-9_-][A-Za-z0-9_.-]*(\/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$/.test(key)) {
    throw new Error('invalid object key');
  }
  return key;
}
