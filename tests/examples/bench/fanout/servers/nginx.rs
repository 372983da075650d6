//! The shipped stack, asked through its nginx: as `make up` starts it.

use anyhow::bail;
use stack_tests::Stack;

use super::{Needs, Server, ours};
use crate::fanout::processes::family;

/// A running stack.
pub(super) struct Nginx {
    stack: Stack,
    roots: [i32; 2],
}

impl Nginx {
    pub(super) fn start(needs: &Needs) -> anyhow::Result<Self> {
        let settings = ours::settings(needs);
        let env: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let stack = Stack::start(&env);
        let roots = ["nginx", "sse-server"].map(|program| stack.pid(program));
        if roots.contains(&0) {
            bail!("the stack does not run: {}", stack.lines().join("\n"));
        }
        Ok(Self { stack, roots })
    }
}

impl Server for Nginx {
    fn port(&self) -> u16 {
        self.stack.port()
    }

    fn pids(&self) -> Vec<i32> {
        family(&self.roots)
    }
}
