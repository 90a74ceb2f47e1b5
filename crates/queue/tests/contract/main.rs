//! What every backend of `Queue` promises (`suite`), and what RabbitMQ promises beyond that
//! (`amqp`, `faults`).

mod amqp;
mod faults;
mod kit;
mod proxy;
mod suite;
