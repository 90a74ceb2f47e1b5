//! The first and the last thing a service's process does.

use std::{pin::Pin, process::ExitCode, time::Duration};

use tokio::net::TcpListener;

use crate::{CancellationToken, Env, meters, telemetry, trace};

/// `EX_CONFIG` would be 78; linkerd and sysexits use 64 for "used the wrong way", and so do we.
const EXIT_CONFIGURATION: u8 = 64;

/// A service at work.
///
/// A box, since the compiler puts the body of an `async fn` into every crate that awaits it: the
/// box keeps a service in its own library, where the programs that hold it only link it.
pub type Running = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// Reads the configuration, binds `HTTP_ADDR`, runs the service and stops it on SIGTERM or SIGINT.
///
/// Exit codes: 0 after an orderly stop, 64 for a faulty configuration (all faults are
/// printed), 1 for anything else.
pub fn service<C, F, Fut>(
    name: &'static str,
    default_addr: &str,
    configure: impl FnOnce(&mut Env) -> C,
    run: F,
) -> ExitCode
where
    F: FnOnce(C, TcpListener, CancellationToken) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    install_crypto();
    let mut env = Env::from_process();
    env.default_to(trace::SERVICE_NAME, name);
    telemetry::init(&mut env);
    let addr = env.string("HTTP_ADDR", default_addr);
    let config = configure(&mut env);
    let config = match env.finish(config) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("{name}: {faults}");
            return ExitCode::from(EXIT_CONFIGURATION);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{name}: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        tokio::spawn(cancel_on_signal(shutdown.clone()));
        tokio::spawn(meters::upkeep());
        metrics::describe_gauge!("build_info", "Always 1; the labels say what runs");
        metrics::gauge!("build_info", "service" => name, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let listener = TcpListener::bind(&addr).await.map_err(|e| anyhow::anyhow!("cannot listen on {addr}: {e}"))?;
        tracing::info!(service = name, addr = %listener.local_addr()?, version = env!("CARGO_PKG_VERSION"), "started");
        run(config, listener, shutdown).await
    });
    // Blocking threads that hang (a resolver, say) must not keep a stopped service alive.
    runtime.shutdown_timeout(Duration::from_secs(1));
    let code = match outcome {
        Ok(()) => {
            tracing::info!(service = name, "stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(service = name, error = format!("{error:#}"), "failed");
            ExitCode::FAILURE
        }
    };
    trace::shutdown();
    code
}

/// Makes aws-lc-rs the one TLS provider of this process; two different ones panic at run time.
pub fn install_crypto() {
    // An error means that it is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

async fn cancel_on_signal(shutdown: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("cannot listen for signals; only SIGKILL will end this process");
        return;
    };
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    tracing::info!("stopping");
    shutdown.cancel();
}
