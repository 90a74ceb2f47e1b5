use std::{
    future::ready,
    time::{Duration, Instant},
};
#[tokio::main]
async fn main() {
    common::telemetry::init(&mut common::Env::from_process());
    let url = std::env::var("TESTKIT_AMQP_URL").expect("url");
    let q = queue::Queue::connect(
        &common::Secret::new(url),
        queue::Options { confirm_timeout: Duration::from_secs(3), ..Default::default() },
    )
    .await
    .expect("c");
    let w = q.clone();
    tokio::spawn(async move {
        w.work("probe", 2, Default::default(), |d| async move {
            if d.envelope.body == b"slow" {
                eprintln!("  slow begins attempt {}", d.attempt);
                tokio::time::sleep(Duration::from_secs(100)).await;
                eprintln!("  slow ends");
            }
            ready(queue::Verdict::Done).await
        })
        .await
    });
    if std::env::var("SLOW").is_ok() {
        q.publish("probe", &queue::Envelope { body: b"slow".to_vec(), ..Default::default() }).await.expect("p");
    }
    let started = Instant::now();
    let mut last = String::new();
    loop {
        let t = Instant::now();
        let r = q.publish("probe", &Default::default()).await;
        let ping = q.ping().await;
        let threads = std::fs::read_dir("/proc/self/task")
            .expect("t")
            .filter(|t| {
                std::fs::read_to_string(t.as_ref().expect("t").path().join("comm"))
                    .is_ok_and(|c| c.starts_with("lapin-io"))
            })
            .count();
        let line = format!(
            "publish {:?} ping {:?}",
            r.map_err(|e| format!("{:#}", anyhow::Error::from(e))),
            ping.map_err(|e| format!("{e:#}"))
        );
        if line != last {
            eprintln!("{:6.1}s took {:.2?} io-threads {threads}: {line}", started.elapsed().as_secs_f32(), t.elapsed());
            last = line;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
