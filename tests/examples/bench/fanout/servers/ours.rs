//! sse-server alone, asked directly.

use stack_tests::{Hub, HubPlan};

use super::{Needs, Server};

/// Connections beside the streams.
const SPARE: usize = 200;

/// A running sse-server.
pub(super) struct Ours(Hub);

impl Ours {
    pub(super) fn start(needs: &Needs) -> Self {
        let settings = settings(needs);
        let env: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Self(Hub::start(HubPlan::new(&needs.folder.join("data"), &env)))
    }
}

/// What lets a row's streams and publishes in; nothing else differs from what is shipped.
pub(super) fn settings(needs: &Needs) -> Vec<(&'static str, String)> {
    let mut env = vec![
        ("SSE_MAX_CONNECTIONS", (needs.streams + SPARE).to_string()),
        ("SSE_MAX_CONNECTIONS_PER_IP", "0".to_owned()),
        ("SSE_PUBLISH_RATE", "0".to_owned()),
        ("SSE_HISTORY", "memory".to_owned()),
    ];
    env.extend(needs.env.iter().cloned());
    env
}

impl Server for Ours {
    fn port(&self) -> u16 {
        self.0.port()
    }

    fn pids(&self) -> Vec<i32> {
        vec![self.0.pid() as i32]
    }
}
