//! The commands about the daemon itself: `pid`, `version`, `shutdown`, `reload`, `open`.

use super::super::fault::FaultCode;
use super::super::trouble::Trouble;
use super::super::value::number;
use super::{Done, Session, absent, exit, is_fault};

impl Session<'_> {
    pub(super) async fn pid(&mut self, args: &[&str]) -> Done {
        if !self.up().await? {
            return Ok(());
        }
        if args.is_empty() {
            let pid = self.daemon.call("supervisor.getPID", &[]).await?;
            return self.say(&pid.int().unwrap_or(0).to_string());
        }
        if args.contains(&"all") {
            return self
                .infos()
                .await?
                .iter()
                .try_for_each(|info| self.say(&number(info, "pid").to_string()));
        }
        for name in args {
            match self.daemon.call("supervisor.getProcessInfo", &[(*name).into()]).await {
                Ok(info) => {
                    let pid = number(&info, "pid");
                    self.say(&pid.to_string())?;
                    if pid == 0 {
                        self.exit = exit::NOT_RUNNING;
                    }
                }
                Err(error) if is_fault(&error, FaultCode::BadName) => {
                    self.error(&format!("No such process {name}"))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(super) async fn version(&mut self, args: &[&str]) -> Done {
        if !args.is_empty() {
            return self.usage("Error: version accepts no arguments", "version");
        }
        if !self.up().await? {
            return Ok(());
        }
        let version = self.daemon.call("supervisor.getSupervisorVersion", &[]).await?;
        self.say(version.text().unwrap_or_default())
    }

    pub(super) async fn shutdown(&mut self, args: &[&str]) -> Done {
        if !args.is_empty() {
            return self.usage("Error: shutdown accepts no arguments", "shutdown");
        }
        if !self.really("Really shut the remote supervisord process down y/N? ")? {
            return Ok(());
        }
        match self.daemon.call("supervisor.shutdown", &[]).await {
            Ok(_) => self.say("Shut down"),
            Err(error) if is_fault(&error, FaultCode::ShutdownState) => {
                self.say("ERROR: already shutting down")
            }
            Err(error) => match absent(&error) {
                Some((words, _)) => {
                    let line = format!("ERROR: {} {words} (already shut down?)", self.daemon.url);
                    self.error(&line)
                }
                None => Err(error.into()),
            },
        }
    }

    pub(super) async fn reload(&mut self, args: &[&str]) -> Done {
        if !args.is_empty() {
            return self.usage("Error: reload accepts no arguments", "reload");
        }
        if !self.really("Really restart the remote supervisord process y/N? ")? {
            return Ok(());
        }
        match self.daemon.call("supervisor.restart", &[]).await {
            Ok(_) => self.say("Restarted supervisord"),
            Err(error) if is_fault(&error, FaultCode::ShutdownState) => {
                self.error("ERROR: already shutting down")
            }
            Err(error) => Err(error.into()),
        }
    }

    fn really(&mut self, question: &str) -> Result<bool, Trouble> {
        Ok(!self.interactive || self.ask(question)?.to_lowercase().starts_with('y'))
    }

    pub(super) async fn open(&mut self, url: &str) -> Done {
        let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_lowercase());
        if !matches!(scheme.as_deref(), Some("unix" | "http")) {
            return self.error("ERROR: url must be http:// or unix://");
        }
        url.clone_into(&mut self.daemon.url);
        let before = self.exit;
        self.status(&[]).await?;
        self.exit = before;
        Ok(())
    }
}
