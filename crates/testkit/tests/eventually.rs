//! Waiting with a deadline.

use std::cell::Cell;
use std::time::Duration;

use testkit::{eventually, free_port, unique_name};

#[tokio::test]
async fn it_hands_on_what_came_at_last() {
    let looks = Cell::new(0);
    let found = eventually(Duration::from_secs(5), || async {
        looks.set(looks.get() + 1);
        if looks.get() < 4 { Err("not yet") } else { Ok("there") }
    });
    assert_eq!(found.await, "there");
    assert_eq!(looks.get(), 4);
}

#[tokio::test]
#[should_panic(expected = "tests/eventually.rs")]
async fn it_names_the_caller() {
    eventually(Duration::from_millis(20), || async { false }).await;
}

#[tokio::test]
#[should_panic(expected = "last seen: Err(\"still 3 jobs\")")]
async fn it_tells_what_was_seen_last() {
    eventually(Duration::from_millis(20), || async { Err::<(), _>("still 3 jobs") }).await;
}

#[tokio::test]
#[should_panic(expected = "did not return")]
async fn a_look_that_hangs_is_cut_off() {
    eventually(Duration::from_millis(20), std::future::pending::<bool>).await;
}

#[test]
fn ports_and_names_are_never_given_twice() {
    let mut ports: Vec<u16> = (0..50).map(|_| free_port()).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 50);
    assert_ne!(unique_name("x"), unique_name("x"));
}
