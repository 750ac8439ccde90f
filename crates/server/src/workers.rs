//! Threads that serve connections, one for each processor, each with a runtime of its own.
//!
//! A connection stays on its thread. What it asks of others (the disk, the catalog, PostHog) it waits for there, so an
//! answer wakes one thread, and nobody looks for work elsewhere: between two uploads that is most of what a runtime
//! shared by all threads would do. Work that takes long leaves these threads anyway ([`App::heavy_work`]).
//!
//! [`App::heavy_work`]: crate::state::App::heavy_work

use std::io;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// How the threads are called, as far as systems show it.
const THREAD_NAME: &str = "connections";

/// Connections that share a thread before another one gets as many. A thread that has several to answer wakes up once for
/// all of them, which costs less than two threads that each wake up for one.
const BUNCH: usize = 32;

/// See the module's page. They end, with whatever is still on them, when this is dropped.
pub(crate) struct Workers(Vec<Worker>);

struct Worker {
    handle: Handle,
    /// Ends the thread when dropped.
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Workers {
    pub(crate) fn start() -> io::Result<Self> {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        (0..count).map(|_| Worker::start()).collect::<io::Result<_>>().map(Self)
    }

    /// Where the next connection is to be served: where the fewest bunches are.
    pub(crate) fn next(&self) -> &Handle {
        let bunches = |at: &usize| self.0[*at].handle.metrics().num_alive_tasks() / BUNCH;
        let at = (0..self.0.len()).min_by_key(bunches).unwrap_or(0);
        &self.0[at].handle
    }
}

impl Worker {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        let serve = move || {
            // Either way it is over. Dropping the runtime waits for what has begun on the disk, so that no file is put in
            // place behind the back of whoever closes the store next.
            let _ = runtime.block_on(ended);
            drop(runtime);
        };
        let thread = std::thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(serve)?;
        Ok(Self { handle, end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.end.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a thread that served connections panicked");
        }
    }
}
