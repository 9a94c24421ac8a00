/** Types of the functions of `@std/text` that this project uses. */
export function levenshteinDistance(str1: string, str2: string): number;
