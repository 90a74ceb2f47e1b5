//! Threads that do pieces of work side by side and hand the results back in order.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::Error;

/// Between two looks at whether the caller still wants the result.
const PATIENCE: Duration = Duration::from_millis(20);

/// What is done with each piece; it should look at the flag now and then, and end when it is set.
pub(crate) type Work<I, O> = fn(I, &AtomicBool) -> Result<O, Error>;

/// Up to so many threads, started when there is something for them to do, and ended with this.
pub(crate) struct Workers<I, O> {
    work: Work<I, O>,
    limit: usize,
    threads: Vec<JoinHandle<()>>,
    jobs: Option<Sender<(u64, I)>>,
    queue: Arc<Mutex<Receiver<(u64, I)>>>,
    results: Receiver<(u64, Result<O, Error>)>,
    result: Sender<(u64, Result<O, Error>)>,
    stop: Arc<AtomicBool>,
    given: u64,
    done: u64,
    handed_back: u64,
    /// Done before their turn.
    early: BTreeMap<u64, O>,
}

impl<I: Send + 'static, O: Send + 'static> Workers<I, O> {
    pub(crate) fn new(limit: usize, work: Work<I, O>) -> Self {
        let (jobs, queue) = channel();
        let (result, results) = channel();
        Self {
            work,
            limit: limit.max(1),
            threads: Vec::new(),
            jobs: Some(jobs),
            queue: Arc::new(Mutex::new(queue)),
            results,
            result,
            stop: Arc::default(),
            given: 0,
            done: 0,
            handed_back: 0,
            early: BTreeMap::new(),
        }
    }

    /// Whether all threads are busy.
    pub(crate) fn is_full(&self) -> bool {
        self.given - self.done >= self.limit as u64
    }

    /// Whether a result is still to come.
    pub(crate) fn is_busy(&self) -> bool {
        self.given > self.handed_back
    }

    pub(crate) fn give(&mut self, item: I) -> Result<(), Error> {
        let under_way = self.given - self.done;
        if self.threads.len() < self.limit && self.threads.len() as u64 <= under_way {
            self.start()?;
        }
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send((self.given, item)).map_err(|_| gone())?;
        self.given += 1;
        Ok(())
    }

    fn start(&mut self) -> Result<(), Error> {
        let (queue, result, stop, work) = (self.queue.clone(), self.result.clone(), self.stop.clone(), self.work);
        let thread = thread::Builder::new().name("encoder".to_owned()).spawn(move || {
            loop {
                let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((number, item)) = job else {
                    return;
                };
                let made = catch_unwind(AssertUnwindSafe(|| work(item, &stop)));
                if result.send((number, made.unwrap_or_else(|payload| Err(panicked(&*payload))))).is_err() {
                    return;
                }
            }
        });
        self.threads.push(thread.map_err(|error| Error::Internal(format!("start a thread: {error}")))?);
        Ok(())
    }

    /// The next result if it is there, else `None`; after a failure, of whichever piece, that.
    pub(crate) fn poll(&mut self) -> Result<Option<O>, Error> {
        while let Ok((number, result)) = self.results.try_recv() {
            self.keep(number, result)?;
        }
        Ok(self.next())
    }

    /// Waits a little for something to be done.
    pub(crate) fn wait(&mut self) -> Result<(), Error> {
        match self.results.recv_timeout(PATIENCE) {
            Ok((number, result)) => self.keep(number, result),
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }

    fn keep(&mut self, number: u64, result: Result<O, Error>) -> Result<(), Error> {
        self.done += 1;
        self.early.insert(number, result?);
        Ok(())
    }

    fn next(&mut self) -> Option<O> {
        let next = self.early.remove(&self.handed_back)?;
        self.handed_back += 1;
        Some(next)
    }
}

impl<I, O> Drop for Workers<I, O> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
        // What nobody has begun is not to be begun.
        if let Ok(queue) = self.queue.try_lock() {
            while queue.try_recv().is_ok() {}
        }
        for thread in self.threads.drain(..) {
            // It has nothing to say: panics were caught inside.
            let _ = thread.join();
        }
    }
}

fn gone() -> Error {
    Error::Internal("the encoder's threads are gone".to_owned())
}

fn panicked(payload: &(dyn Any + Send)) -> Error {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    Error::Internal(format!("an encoder panicked: {}", text.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn collect(workers: &mut Workers<u64, u64>) -> Result<Vec<u64>, Error> {
        let mut all = Vec::new();
        while workers.is_busy() {
            match workers.poll()? {
                Some(result) => all.push(result),
                None => workers.wait()?,
            }
        }
        Ok(all)
    }

    #[test]
    fn results_come_in_order_and_work_is_shared() {
        let mut workers = Workers::new(3, |millis, _| {
            thread::sleep(Duration::from_millis(millis));
            Ok(millis)
        });
        let begun = Instant::now();
        for millis in [120, 20, 60] {
            assert!(!workers.is_full());
            workers.give(millis).expect("given");
        }
        assert!(workers.is_full(), "three at work");
        workers.give(80).expect("given");
        assert_eq!(workers.threads.len(), 3);
        assert_eq!(collect(&mut workers).expect("all"), [120, 20, 60, 80]);
        assert!(begun.elapsed() < Duration::from_millis(250), "side by side");
    }

    #[test]
    fn few_pieces_start_few_threads() {
        let mut workers = Workers::new(8, |item, _| Ok(item));
        workers.give(1).expect("given");
        assert_eq!(workers.threads.len(), 1);
        assert_eq!(collect(&mut workers).expect("all"), [1]);
    }

    #[test]
    fn a_panic_or_an_error_is_told_and_ends_nothing_else() {
        let mut workers: Workers<u64, u64> = Workers::new(2, |item, _| match item {
            1 => panic!("piece {item} is cursed"),
            2 => Err(Error::Cancelled),
            _ => Ok(item),
        });
        workers.give(1).expect("given");
        let error = collect(&mut workers).expect_err("a panic");
        assert!(matches!(&error, Error::Internal(text) if text.contains("piece 1 is cursed")), "{error:?}");
        let mut workers: Workers<u64, u64> = Workers::new(2, workers.work);
        workers.give(2).expect("given");
        assert!(matches!(collect(&mut workers), Err(Error::Cancelled)));
    }

    #[test]
    fn who_gives_up_waits_for_no_work() {
        let mut workers: Workers<u64, u64> = Workers::new(2, |_, stop| {
            let begun = Instant::now();
            while !stop.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(20) {
                thread::sleep(Duration::from_millis(1));
            }
            Ok(0)
        });
        for _ in 0..5 {
            workers.give(0).expect("given");
        }
        let begun = Instant::now();
        drop(workers);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
