//! `postback`: affiliate postbacks in, commissions to the cent, webhooks out.
//!
//! The map, in the order in which a postback travels (ARCHITECTURE.md tells it in prose):
//!
//! | room | subject |
//! | --- | --- |
//! | [`domain`] | pure rules: money, dedup, transitions, plans, ledger, retry, signatures. No I/O. |
//! | [`http`] | actix-web: routes, problems, authentication of requests |
//! | [`intake`] | authenticate → verify → parse → judge → record, the verdict |
//! | [`store`] | sqlx: one method = one use case = one transaction, on SQLite and PostgreSQL |
//! | [`queue`] | hints about deliveries: in this process or in RabbitMQ |
//! | [`delivery`] | relay → worker → sender → finish, and the sweeper |
//! | [`replay`] | what failed is sent or judged again: one, or many by a job |
//! | [`payouts`] | money to affiliates: asked for, or by schedule |
//! | [`retention`] | deletes what has been kept long enough |
//! | [`alerts`] | what is watched and who is told |
//! | [`cli`] | `serve`, `demo`, `keys`, `ledger verify`, … |

pub mod alerts;
pub mod app;
pub mod batch;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod domain;
pub mod fail;
pub mod http;
pub mod intake;
pub mod lifecycle;
pub mod metrics;
pub mod payouts;
pub mod queue;
pub mod replay;
pub mod retention;
pub mod store;
pub mod telemetry;
