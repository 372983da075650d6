//! The command `fg`: the output of one process is shown, and what is typed is its input.

use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError};

use tokio::sync::mpsc;

use super::super::client::CallError;
use super::super::fault::FaultCode;
use super::super::input::Line;
use super::super::trouble::{Trouble, described};
use super::super::value::number;
use super::follow::{PIECES_MAX, Piece, follow};
use super::tail::log_path;
use super::{Done, Session, is_fault};
use crate::program::ProcessState;

impl Session<'_> {
    pub(super) async fn fg(&mut self, args: &[&str]) -> Done {
        if !self.up().await? {
            return Ok(());
        }
        let name = match args {
            [] => return self.usage("ERROR: no process name supplied", "fg"),
            [name] => *name,
            _ => return self.error("ERROR: too many process names supplied"),
        };
        match self.is_running(name).await {
            Ok(true) => {}
            Ok(false) => return self.error("ERROR: process not running"),
            Err(error) if is_fault(&error, FaultCode::BadName) => {
                return self.error("ERROR: bad process name supplied");
            }
            Err(error @ CallError::Fault(_)) => return self.say(&format!("ERROR: {}", described(&error).1)),
            Err(error) => return Err(error.into()),
        }
        self.say("==> Press Ctrl-C to exit <==")?;
        self.output.out.flush()?;
        let attached = self.until_interrupt(async |session| session.attached(name).await);
        if attached.await? { self.say("Exiting foreground") } else { Ok(()) }
    }

    async fn is_running(&self, name: &str) -> Result<bool, CallError> {
        let info = self.daemon.call("supervisor.getProcessInfo", &[name.into()]).await?;
        Ok(number(&info, "state") == i64::from(ProcessState::Running.code()))
    }

    async fn attached(&mut self, name: &str) -> Done {
        let (sender, mut pieces) = mpsc::channel(PIECES_MAX);
        let _tasks = ["stdout", "stderr"]
            .map(|channel| follow(self.daemon.clone(), log_path(name, channel), 0, None, sender.clone()));
        loop {
            let line = self.line_while_showing(&mut pieces).await?;
            let text = match line {
                Line::Text(text) => text + "\n",
                Line::End | Line::Interrupted => return self.say("Exiting foreground"),
            };
            let sent = self.daemon.call("supervisor.sendProcessStdin", &[name.into(), text.into()]).await;
            match sent {
                Ok(_) => {
                    if !self.is_running(name).await? {
                        return self.say("Process got killed\nExiting foreground");
                    }
                }
                Err(error) if is_fault(&error, FaultCode::NotRunning) => {
                    return self.say("Process got killed\nExiting foreground");
                }
                Err(error @ CallError::Fault(_)) => {
                    self.say(&format!("ERROR: {}", described(&error).1))?;
                    return self.say("Exiting foreground");
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next line that is typed. The thread that waits for it ends with this future.
    async fn line_while_showing(
        &mut self,
        pieces: &mut mpsc::Receiver<(usize, Piece)>,
    ) -> Result<Line, Trouble> {
        let input = Arc::clone(&self.input);
        let (cancelled, _cancel) = std::io::pipe()?;
        let mut reading = tokio::task::spawn_blocking(move || {
            input.lock().unwrap_or_else(PoisonError::into_inner).line(Some(cancelled.as_fd()))
        });
        loop {
            tokio::select! {
                piece = pieces.recv() => match piece {
                    Some((_, Piece::Bytes(bytes))) => {
                        self.output.out.write_all(&bytes)?;
                        self.output.out.flush()?;
                    }
                    Some((_, Piece::Failed(path, error))) => self.log_error(&path, &error)?,
                    // Unreachable: this command holds a sender too.
                    None => {}
                },
                line = &mut reading => return Ok(line.map_err(std::io::Error::other)??),
            }
        }
    }
}
