//! What every backend of `Queue` promises (`suite`), and what each promises beyond that:
//! RabbitMQ (`amqp`, `faults`) and SQLite (`sqlite`).

/// Makes a test of each property, on the empty server that `$home` gives.
macro_rules! contract {
    ($home:expr) => {
        contract! { $home =>
            each_message_goes_to_exactly_one_handler
            a_message_waits_for_its_worker
            a_slow_worker_hoards_nothing
            slots_bound_what_runs_at_once
            retries_come_back_later_and_end_among_the_dead
            dead_is_dead_at_once
            dead_letters_can_be_sifted
            later_keeps_the_attempt_but_has_an_end
            later_mixes_with_retry
            a_panic_costs_one_attempt_and_no_worker
            two_queues_do_not_mix
            shutdown_lets_the_running_handler_finish
            work_that_is_cut_short_comes_again
            a_message_that_kills_its_workers_ends_among_the_dead
            many_may_be_first
            answers_a_ping_and_ends_when_closed
        }
    };
    ($home:expr => $($property:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $property() {
            let home = $home.await;
            crate::suite::$property(&home.url()).await;
        }
    )*};
}

mod amqp;
mod faults;
mod kit;
mod sqlite;
mod suite;
