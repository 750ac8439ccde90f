//! Sends requests over many connections and times the answers. One thread, so that the other core is the server's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How to tell where an answer ends, and whether it is a good one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Protocol {
    Http,
    /// One line; an error begins with `-`.
    Redis,
}

/// What to send, and how.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) connection_count: usize,
    pub(crate) requests: Arc<Vec<Bytes>>,
    /// How many requests to send in all, beginning again after the last one.
    pub(crate) request_count: usize,
    /// Requests per second; `None` sends each as soon as its connection is free.
    pub(crate) rate: Option<f64>,
    pub(crate) protocol: Protocol,
}

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) elapsed: Duration,
    /// From when a request was due until its answer was complete, sorted.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) refused: usize,
    pub(crate) answer_bytes: u64,
}

impl Answers {
    pub(crate) fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        let at = (self.latencies.len() as f64 * quantile) as usize;
        let latency = self.latencies.get(at.min(self.latencies.len().saturating_sub(1)));
        latency.copied().unwrap_or_default().as_secs_f64() * 1_000.0
    }
}

/// Lays uploads out as requests of a browser.
pub(crate) fn uploads<'a>(bodies: impl IntoIterator<Item = &'a Bytes>) -> Arc<Vec<Bytes>> {
    let head = |length: usize| {
        format!(
            "POST /s/ HTTP/1.1\r\nHost: replay.example\r\nConnection: keep-alive\r\nContent-Length: {length}\r\n\
             User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0\r\n\
             Content-Type: text/plain\r\nAccept: */*\r\nOrigin: https://shop.example\r\n\
             Referer: https://shop.example/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\r\n"
        )
    };
    let request = |body: &Bytes| Bytes::from([head(body.len()).as_bytes(), body].concat());
    Arc::new(bodies.into_iter().map(request).collect())
}

/// Asks for one path.
pub(crate) fn get(path: &str, token: &str) -> Bytes {
    Bytes::from(format!(
        "GET {path} HTTP/1.1\r\nHost: replay.example\r\nAuthorization: Bearer {token}\r\nAccept-Encoding: zstd\r\n\r\n"
    ))
}

impl Load {
    /// Each of `requests` once, over `connection_count` connections, as fast as they are answered.
    pub(crate) fn once(address: SocketAddr, connection_count: usize, requests: &Arc<Vec<Bytes>>) -> Self {
        let (requests, request_count) = (Arc::clone(requests), requests.len());
        Self { address, connection_count, requests, request_count, rate: None, protocol: Protocol::Http }
    }

    /// Sends everything. Fails when a connection breaks; refusals are counted.
    pub(crate) fn send(self) -> anyhow::Result<Answers> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.send_all())
    }

    async fn send_all(self) -> anyhow::Result<Answers> {
        let mut connections = Vec::with_capacity(self.connection_count);
        for _ in 0..self.connection_count {
            connections.push(Connection::open(self.address, self.protocol).await?);
        }
        let load = Arc::new(self);
        let next = Arc::new(AtomicUsize::new(0));
        let begin = Instant::now();
        let tasks: Vec<_> = connections
            .into_iter()
            .map(|connection| tokio::spawn(work(Arc::clone(&load), Arc::clone(&next), connection, begin)))
            .collect();
        let mut answers = Answers::default();
        for task in tasks {
            let part = task.await??;
            answers.latencies.extend(part.latencies);
            answers.refused += part.refused;
            answers.answer_bytes += part.answer_bytes;
        }
        answers.elapsed = begin.elapsed();
        answers.latencies.sort_unstable();
        Ok(answers)
    }
}

async fn work(
    load: Arc<Load>,
    next: Arc<AtomicUsize>,
    mut connection: Connection,
    begin: Instant,
) -> anyhow::Result<Answers> {
    let mut answers = Answers::default();
    loop {
        let turn = next.fetch_add(1, Relaxed);
        if turn >= load.request_count {
            return Ok(answers);
        }
        let due = match load.rate {
            Some(rate) => begin + Duration::from_secs_f64(turn as f64 / rate),
            None => Instant::now(),
        };
        tokio::time::sleep_until(due.into()).await;
        let answer = connection.exchange(&load.requests[turn % load.requests.len()]).await?;
        answers.latencies.push(due.elapsed());
        answers.refused += usize::from(!answer.is_good);
        answers.answer_bytes += answer.bytes;
    }
}

/// A connection that is kept open.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    received: BytesMut,
    protocol: Protocol,
}

/// One answer: whether it is one to be glad of, and the bytes of its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) is_good: bool,
    /// The code of HTTP; empty elsewhere.
    pub(crate) status: String,
    pub(crate) bytes: u64,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr, protocol: Protocol) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: BytesMut::with_capacity(256), protocol })
    }

    /// Sends one request and waits for the whole answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.stream.write_all(request).await?;
        match self.protocol {
            Protocol::Http => self.http_answer().await,
            Protocol::Redis => {
                let line = self.receive_until(b"\r\n").await?;
                let is_good = self.received.first() != Some(&b'-');
                self.received.advance(line);
                Ok(Answer { is_good, status: String::new(), bytes: line as u64 })
            }
        }
    }

    async fn http_answer(&mut self) -> anyhow::Result<Answer> {
        let head_bytes = self.receive_until(b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&self.received[..head_bytes]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let is_good = status == "200";
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        let length = length.context("an answer without a length")?;
        self.received.advance(head_bytes);
        let mut missing = length;
        loop {
            let here = missing.min(self.received.len());
            self.received.advance(here);
            missing -= here;
            if missing == 0 {
                return Ok(Answer { is_good, status, bytes: length as u64 });
            }
            self.receive().await?;
        }
    }

    /// Receives until `end` is there; returns how many bytes there are up to and with it.
    async fn receive_until(&mut self, end: &[u8]) -> anyhow::Result<usize> {
        loop {
            if let Some(at) = self.received.windows(end.len()).position(|window| window == end) {
                return Ok(at + end.len());
            }
            self.receive().await?;
        }
    }

    async fn receive(&mut self) -> anyhow::Result<()> {
        self.received.reserve(if self.received.capacity() > 4_096 { 256 << 10 } else { 1_024 });
        if self.stream.read_buf(&mut self.received).await? == 0 {
            bail!("the server closed a connection");
        }
        Ok(())
    }
}
