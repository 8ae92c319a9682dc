import { AppError } from '../errors.js';
import { MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH } from './passwords.js';

// The check of a careful form, not of RFC 5322.
const EMAIL = /^[^\s\p{Cc}@"(),:;<>[\\\]]{1,64}@[^\s\p{Cc}@"(),:;<>[\\\]]+\.[^\s\p{Cc}@".(),:;<>[\\\]]+$/u;

/**
 * An e-mail address without the white space around it.
 * @throws AppError `invalid_parameter`
 */
export function checkedEmail(email: string): string {
  const trimmed = email.trim();
  if (trimmed.length > 254 || !EMAIL.test(trimmed)) {
    throw new AppError('invalid_parameter', 'email must be an e-mail address');
  }
  return trimmed;
}

/**
 * The name of an account without the white space around it.
 * @throws AppError `invalid_parameter`
 */
export function checkedName(name: string): string {
  const trimmed = name.trim();
  if (trimmed === '') throw new AppError('invalid_parameter', 'name must not be empty');
  return trimmed;
}

/** @throws AppError `invalid_parameter` */
export function checkPassword(password: string): void {
  if (password.length < MIN_PASSWORD_LENGTH || password.length > MAX_PASSWORD_LENGTH) {
    throw new AppError(
      'invalid_parameter',
      `password must have ${MIN_PASSWORD_LENGTH} to ${MAX_PASSWORD_LENGTH} characters`,
    );
  }
}
