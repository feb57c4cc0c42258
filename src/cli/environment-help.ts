/** Shown by the help of the commands that run the service or a part of it. */
export const ENVIRONMENT_HELP = `
Environment:
  DATABASE_URL             Postgres 15 or newer, as postgres://user:password@host:5432/database
                           (dev: without it, a Postgres of its own in ERRAND_DATA_DIR)
  ERRAND_LISTEN_URL        the same database past a pooler in transaction mode, for notifications alone
  ERRAND_ADMIN_KEY         secret of 24 or more characters; must be given with DATABASE_URL
  ERRAND_MASTER_KEY        32 bytes in base64 or hex, which wrap the secrets in the database; several
                           with commas: the first wraps, all open (see errand master-key)
  ERRAND_DATA_DIR          default .errand
  ERRAND_HOST              default 127.0.0.1
  ERRAND_PORT              default 8484
  ERRAND_PUBLIC_URL        where others reach this service, and the base of the tokens' issuer
                           (default http://<host>:<port>)
  ERRAND_ROLES             of api, dispatcher, scheduler, dashboard; default all, comma-separated
  ERRAND_POOL              serve the queues that are set to this pool; default default
  ERRAND_STRATEGY          share slots between queues as weighted (default) or strict-priority
  ERRAND_CONCURRENCY       calls in flight, 1 to 10000; default 128
  ERRAND_DRAIN_SECONDS     how long calls in flight may take to end at a stop; default 10
  ERRAND_TAKEOVER_SECONDS  silence after which a dispatcher is taken for dead, 2 to 300; default 10
  ERRAND_TARGET_ALLOW      private hosts, addresses and CIDRs that tasks may target, loopback, http
  ERRAND_TARGET_PROXY      forward proxy for the calls, as http://proxy.example:3128
  ERRAND_TARGET_CA         PEM file of more certificate authorities to trust
  ERRAND_LOG_LEVEL         trace, debug, info, warn, error, fatal or silent; default info

Options go before the environment.`;
