//! The commands about the configuration: `avail`, `reread`, `update`, `add`, `remove`.

use std::collections::{BTreeMap, BTreeSet};

use super::super::client::CallError;
use super::super::fault::FaultCode;
use super::super::value::{field, number, truth};
use super::super::xmlrpc::Value;
use super::{Done, Session, full_name, is_fault};

/// The groups that a changed configuration concerns.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
}

impl Changes {
    /// From `[[added, changed, removed]]`.
    fn read(answer: &Value) -> Self {
        let lists = answer.items().first().map(Value::items).unwrap_or_default();
        let names = |at: usize| -> Vec<String> {
            let items = lists.get(at).map(Value::items).unwrap_or_default();
            items.iter().filter_map(Value::text).map(str::to_owned).collect()
        };
        Self { added: names(0), changed: names(1), removed: names(2) }
    }

    fn lines(&self) -> Vec<String> {
        let mut words = BTreeMap::new();
        for (names, word) in
            [(&self.added, "available"), (&self.changed, "changed"), (&self.removed, "disappeared")]
        {
            words.extend(names.iter().map(|name| (name, word)));
        }
        if words.is_empty() {
            return vec!["No config updates to processes".to_owned()];
        }
        words.iter().map(|(name, word)| format!("{name}: {word}")).collect()
    }
}

fn avail_line(info: &Value) -> String {
    let is = |name| truth(info, name).unwrap_or(false);
    format!(
        "{:<32} {:<9} {:<9} {}:{}",
        full_name(info),
        if is("inuse") { "in use" } else { "avail" },
        if is("autostart") { "auto" } else { "manual" },
        number(info, "group_prio"),
        number(info, "process_prio")
    )
}

impl Session<'_> {
    pub(super) async fn avail(&mut self, args: &[&str]) -> Done {
        if !args.is_empty() {
            return self.usage("Error: avail accepts no arguments", "avail");
        }
        match self.daemon.call("supervisor.getAllConfigInfo", &[]).await {
            Ok(infos) => infos.items().iter().try_for_each(|info| self.say(&avail_line(info))),
            Err(error) if is_fault(&error, FaultCode::ShutdownState) => {
                self.error("ERROR: supervisor shutting down")
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn reread(&mut self, args: &[&str]) -> Done {
        if !args.is_empty() {
            return self.usage("Error: reread accepts no arguments", "reread");
        }
        match self.daemon.call("supervisor.reloadConfig", &[]).await {
            Ok(changes) => Changes::read(&changes).lines().iter().try_for_each(|line| self.say(line)),
            Err(error) if is_fault(&error, FaultCode::ShutdownState) => {
                self.error("ERROR: supervisor shutting down")
            }
            Err(CallError::Fault(fault)) if fault.code == FaultCode::CantReread.code() => {
                self.error(&format!("ERROR: {}", fault.text))
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn add(&mut self, names: &[&str]) -> Done {
        for name in names {
            match self.daemon.call("supervisor.addProcessGroup", &[(*name).into()]).await {
                Ok(_) => self.say(&format!("{name}: added process group"))?,
                Err(error) if is_fault(&error, FaultCode::ShutdownState) => {
                    self.error("ERROR: shutting down")?;
                }
                Err(error) if is_fault(&error, FaultCode::AlreadyAdded) => {
                    self.say("ERROR: process group already active")?;
                }
                Err(error) if is_fault(&error, FaultCode::BadName) => {
                    self.error(&format!("ERROR: no such process/group: {name}"))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(super) async fn remove(&mut self, names: &[&str]) -> Done {
        for name in names {
            match self.daemon.call("supervisor.removeProcessGroup", &[(*name).into()]).await {
                Ok(_) => self.say(&format!("{name}: removed process group"))?,
                Err(error) if is_fault(&error, FaultCode::StillRunning) => {
                    self.error(&format!("ERROR: process/group still running: {name}"))?;
                }
                Err(error) if is_fault(&error, FaultCode::BadName) => {
                    self.error(&format!("ERROR: no such process/group: {name}"))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(super) async fn update(&mut self, args: &[&str]) -> Done {
        let changes = match self.daemon.call("supervisor.reloadConfig", &[]).await {
            Ok(changes) => Changes::read(&changes),
            Err(error) if is_fault(&error, FaultCode::ShutdownState) => {
                return self.error("ERROR: already shutting down");
            }
            Err(error) => return Err(error.into()),
        };
        let all = args.is_empty() || args.contains(&"all");
        let wanted: BTreeSet<&str> = if all { BTreeSet::new() } else { args.iter().copied().collect() };
        if !all {
            let mut known: BTreeSet<String> = changes.added.iter().cloned().collect();
            known.extend(self.infos().await?.iter().map(|info| field(info, "group").to_owned()));
            for name in wanted.iter().filter(|name| !known.contains(**name)) {
                self.error(&format!("ERROR: no such group: {name}"))?;
            }
        }
        let meant = |group: &&String| all || wanted.contains(group.as_str());
        for group in changes.removed.iter().filter(meant) {
            let results = self.daemon.call("supervisor.stopProcessGroup", &[group.as_str().into()]).await?;
            self.say(&format!("{group}: stopped"))?;
            let failed = i64::from(FaultCode::Failed.code());
            if results.items().iter().any(|result| number(result, "status") == failed) {
                self.error(&format!("{group}: has problems; not removing"))?;
                continue;
            }
            self.daemon.call("supervisor.removeProcessGroup", &[group.as_str().into()]).await?;
            self.say(&format!("{group}: removed process group"))?;
        }
        for group in changes.changed.iter().filter(meant) {
            self.daemon.call("supervisor.stopProcessGroup", &[group.as_str().into()]).await?;
            self.say(&format!("{group}: stopped"))?;
            self.daemon.call("supervisor.removeProcessGroup", &[group.as_str().into()]).await?;
            self.daemon.call("supervisor.addProcessGroup", &[group.as_str().into()]).await?;
            self.say(&format!("{group}: updated process group"))?;
        }
        for group in changes.added.iter().filter(meant) {
            self.daemon.call("supervisor.addProcessGroup", &[group.as_str().into()]).await?;
            self.say(&format!("{group}: added process group"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Value {
        Value::Array(names.iter().map(|name| (*name).into()).collect())
    }

    #[test]
    fn changes_are_told_in_the_order_of_their_names() {
        let answer = |added, changed, removed| {
            Value::Array(vec![Value::Array(vec![names(added), names(changed), names(removed)])])
        };
        for (answer, expected) in [
            (answer(&[], &[], &[]), &["No config updates to processes"][..]),
            (answer(&["c"], &["a"], &["b"]), &["a: changed", "b: disappeared", "c: available"]),
            (Value::Nil, &["No config updates to processes"]),
        ] {
            assert_eq!(Changes::read(&answer).lines(), expected);
        }
    }

    #[test]
    fn a_program_that_is_configured_is_one_line() {
        let info = |group: &str, used: Value, auto: Value| {
            Value::Struct(vec![
                ("group".to_owned(), group.into()),
                ("name".to_owned(), "cat".into()),
                ("inuse".to_owned(), used),
                ("autostart".to_owned(), auto),
                ("group_prio".to_owned(), Value::Int(999)),
                ("process_prio".to_owned(), Value::Int(-1)),
            ])
        };
        for (info, expected) in [
            (
                info("cat", true.into(), true.into()),
                "cat                              in use    auto      999:-1",
            ),
            (
                info("b", Value::Int(0), false.into()),
                "b:cat                            avail     manual    999:-1",
            ),
        ] {
            assert_eq!(avail_line(&info), expected);
        }
    }
}
