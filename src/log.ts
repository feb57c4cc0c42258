/** The part of pino that the rooms use. Fields never hold a payload, a key, or a URL's query. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
