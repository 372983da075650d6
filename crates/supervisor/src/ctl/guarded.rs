//! A connection that is given up when its client keeps it waiting.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::seats::{Phase, Seat};
use super::server::Limits;

/// A stream with the time limits of its place.
pub(super) struct Guarded<S> {
    stream: S,
    seat: Rc<Seat>,
    limits: Limits,
    reading: Pin<Box<Sleep>>,
    writing: Pin<Box<Sleep>>,
    blocked: bool,
    /// When the client's end came.
    ended: Option<Instant>,
}

impl<S> Guarded<S> {
    pub(super) fn new(stream: S, seat: Rc<Seat>, limits: Limits) -> Self {
        let timer = || Box::pin(sleep_until(Instant::now()));
        Self { stream, seat, limits, reading: timer(), writing: timer(), blocked: false, ended: None }
    }

    /// How long more bytes are waited for.
    fn patience(&self) -> Option<Duration> {
        match self.seat.phase() {
            Phase::New | Phase::Head => Some(self.limits.head_timeout),
            Phase::Idle => Some(self.limits.idle_timeout),
            Phase::Body | Phase::Answer | Phase::Follow => None,
        }
    }

    fn written(&mut self, written: &Poll<io::Result<usize>>, context: &mut Context<'_>) -> io::Result<()> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.blocked = false;
                self.seat.release(*bytes);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                if !self.blocked {
                    self.blocked = true;
                    self.writing.as_mut().reset(Instant::now() + self.limits.write_timeout);
                }
                if self.writing.as_mut().poll(context).is_ready() {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read"));
                }
            }
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ended.is_none() {
            let before = buffer.filled().len();
            match Pin::new(&mut this.stream).poll_read(context, buffer) {
                Poll::Ready(Ok(())) if buffer.filled().len() > before => {
                    if matches!(this.seat.phase(), Phase::New | Phase::Idle) {
                        this.seat.enter(Phase::Head);
                    }
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(())) => this.ended = Some(Instant::now()),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
        }
        this.seat.reads(context.waker());
        // Whoever has closed its half may still read the answer, if that comes soon; more cannot be known of it.
        let waiting = !matches!(this.seat.phase(), Phase::New | Phase::Idle);
        let until = match this.ended {
            Some(ended) if waiting => ended + this.limits.half_closed_time,
            Some(_) => return Poll::Ready(Ok(())),
            None => match this.patience() {
                Some(patience) => this.seat.since() + patience,
                None => return Poll::Pending,
            },
        };
        if this.reading.deadline() != until {
            this.reading.as_mut().reset(until);
        }
        ready!(this.reading.as_mut().poll(context));
        Poll::Ready(match this.ended {
            Some(_) => Ok(()),
            None => Err(io::Error::new(io::ErrorKind::TimedOut, "the client sends no request")),
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.written(&written, context)?;
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, bytes);
        this.written(&written, context)?;
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
