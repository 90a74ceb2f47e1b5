//! What the tests stand on: throw-away servers, an SMTP server that misbehaves on
//! demand, media makers, an independent MP3 decoder, and a way to wait that never
//! sleeps blindly.
//!
//! Two kinds of servers:
//! - **shared**: `with-servers -- COMMAND` starts MariaDB, mongod and RabbitMQ once;
//!   every test in COMMAND reaches them through [`Servers::shared`] and owns its own
//!   databases and virtual hosts in them;
//! - **private**: [`Mariadb`], [`Mongod`] and [`Rabbitmq`] belong to one test, which
//!   may stop, kill and restart them.
//!
//! Every server lives in a temporary folder on ports of its own. Nothing here touches
//! a server that was already running.

mod binary;
mod eventually;
mod folder;
mod mariadb;
pub mod media;
mod mongod;
mod name;
mod otlp;
mod port;
mod process;
mod proxy;
mod rabbitmq;
mod servers;
pub mod smtp;
mod tls;
mod vhost;

pub use binary::binary;
pub use eventually::{Outcome, eventually};
pub use mariadb::{Mariadb, create_database, load_schema, run_sql};
pub use mongod::Mongod;
pub use name::unique_name;
pub use otlp::{OtlpReceiver, TracedSpan};
pub use port::{Port, free_port};
pub use process::{Process, effective_user, end_with_parent};
pub use proxy::{Breakage, Proxy};
pub use rabbitmq::Rabbitmq;
pub use servers::{Servers, workspace_root};
pub use smtp::SmtpServer;
pub use tls::Tls;
pub use vhost::{Broker, QueueState, Vhost};
