//! A body that goes through, and leaves a copy of itself on the way.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

/// Takes the copy.
pub trait Sink: Send + 'static {
    /// The next piece. Must not block.
    fn piece(&mut self, piece: &Bytes);
    /// There is no more. `is_whole` unless the body broke off, or whoever read it had enough.
    fn end(&mut self, is_whole: bool);
}

/// The body that goes through.
pub struct Copied<B, S: Sink>(Arc<Mutex<State<B, S>>>);

/// What is left of the body when whoever was to read it has gone.
pub struct Rest<B, S: Sink>(Arc<Mutex<State<B, S>>>);

struct State<B, S: Sink> {
    /// `None` once the rest is read elsewhere.
    body: Option<B>,
    sink: S,
    has_ended: bool,
}

impl<B: Body, S: Sink> Copied<B, S> {
    /// Wraps a body. As long as the second value is held, the copy is not given up when the first is dropped.
    pub fn new(body: B, sink: S) -> (Self, Rest<B, S>) {
        let mut state = State { body: Some(body), sink, has_ended: false };
        state.end_if_over();
        let state = Arc::new(Mutex::new(state));
        (Self(Arc::clone(&state)), Rest(state))
    }
}

impl<B: Body<Data = Bytes> + Unpin, S: Sink> Rest<B, S> {
    /// Reads what nobody else did, so that the copy is whole all the same.
    pub async fn drain(self) {
        let Some(mut body) = locked(&self.0).body.take() else { return };
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return };
            if let Some(data) = frame.data_ref() {
                locked(&self.0).sink.piece(data);
            }
        }
        locked(&self.0).end(true);
    }
}

impl<B: Body<Data = Bytes> + Unpin, S: Sink> Body for Copied<B, S> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut state = locked(&self.0);
        let Some(body) = state.body.as_mut() else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        match &frame {
            None => state.end(true),
            Some(Err(_)) => state.end(false),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    state.sink.piece(data);
                }
                // Whoever knows the length stops asking once it has come.
                state.end_if_over();
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        locked(&self.0).body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        locked(&self.0).body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl<B: Body, S: Sink> State<B, S> {
    fn end_if_over(&mut self) {
        if self.body.as_ref().is_some_and(Body::is_end_stream) {
            self.end(true);
        }
    }
}

impl<B, S: Sink> State<B, S> {
    fn end(&mut self, is_whole: bool) {
        if !std::mem::replace(&mut self.has_ended, true) {
            self.sink.end(is_whole);
        }
    }
}

impl<B, S: Sink> Drop for State<B, S> {
    fn drop(&mut self) {
        self.end(false);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<(Vec<u8>, Vec<bool>)>>);

    impl Sink for Log {
        fn piece(&mut self, piece: &Bytes) {
            self.0.lock().unwrap().0.extend_from_slice(piece);
        }

        fn end(&mut self, is_whole: bool) {
            self.0.lock().unwrap().1.push(is_whole);
        }
    }

    impl Log {
        fn seen(&self) -> (Vec<u8>, Vec<bool>) {
            self.0.lock().unwrap().clone()
        }
    }

    struct Pieces(Vec<Result<&'static str, std::io::ErrorKind>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = std::io::ErrorKind;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::ErrorKind>>> {
            if self.0.is_empty() {
                return Poll::Ready(None);
            }
            Poll::Ready(Some(self.0.remove(0).map(|text| Frame::data(Bytes::from_static(text.as_bytes())))))
        }
    }

    #[tokio::test]
    async fn what_goes_through_is_what_is_copied() {
        let log = Log::default();
        let (body, rest) = Copied::new(Pieces(vec![Ok("one "), Ok("two")]), log.clone());
        drop(rest);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "one two");
        assert_eq!(log.seen(), (b"one two".to_vec(), vec![true]));
    }

    #[tokio::test]
    async fn a_body_of_known_length_is_whole_when_its_last_byte_has_come() {
        let log = Log::default();
        let (mut body, _rest) = Copied::new(Full::new(Bytes::from_static(b"all")), log.clone());
        let _ = body.frame().await;
        assert_eq!(log.seen(), (b"all".to_vec(), vec![true]));
        let empty = Log::default();
        let (body, _rest) = Copied::new(Full::new(Bytes::new()), empty.clone());
        assert_eq!((empty.seen().1, body.is_end_stream()), (vec![true], true));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_or_is_left_is_not_whole() {
        let broken = Log::default();
        let (body, _rest) =
            Copied::new(Pieces(vec![Ok("one"), Err(std::io::ErrorKind::ConnectionReset)]), broken.clone());
        assert!(body.collect().await.is_err());
        assert_eq!(broken.seen().1, [false]);
        let left = Log::default();
        drop(Copied::new(Pieces(vec![Ok("one")]), left.clone()));
        assert_eq!(left.seen().1, [false]);
    }

    #[tokio::test]
    async fn what_the_reader_left_can_still_be_read() {
        let log = Log::default();
        let (mut body, rest) = Copied::new(Pieces(vec![Ok("one "), Ok("two")]), log.clone());
        let _ = body.frame().await;
        drop(body);
        rest.drain().await;
        assert_eq!(log.seen(), (b"one two".to_vec(), vec![true]));
    }

    #[test]
    fn the_length_is_told_on() {
        let (body, _rest) = Copied::new(Full::new(Bytes::from_static(b"abc")), Log::default());
        assert_eq!(body.size_hint().exact(), Some(3));
        let (body, _rest) = Copied::new(Pieces(Vec::new()), Log::default());
        assert_eq!(body.size_hint().exact(), None);
    }
}
