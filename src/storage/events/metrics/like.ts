/** The LIKE pattern of a text with `*` wildcards; its escape is the backslash. Both engines match it in a bounded number of steps. */
export function likePattern(wildcards: string): string {
  return wildcards.replace(/[\\%_]/g, '\\$&').replace(/\*+/g, '%');
}
