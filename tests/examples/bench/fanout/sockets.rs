//! What the kernel holds of the bytes between a server and its streams.

use std::collections::HashMap;
use std::fs;

use anyhow::Context as _;

/// The state of an open connection, as the kernel writes it.
const ESTABLISHED: &str = "01";

/// Of each connection to this port with bytes that were sent and not read: how many, in both ends' queues.
pub(crate) fn unread(port: u16) -> anyhow::Result<Vec<u64>> {
    let table = fs::read_to_string("/proc/net/tcp").context("cannot read the kernel's connections")?;
    Ok(parse(&table, port))
}

fn parse(table: &str, port: u16) -> Vec<u64> {
    let port = format!(":{port:04X}");
    let mut of: HashMap<&str, u64> = HashMap::new();
    for line in table.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, remote, ESTABLISHED, queues, ..] = fields[..] else { continue };
        let Some((unsent, unread)) = queues.split_once(':') else { continue };
        // Both ends are on this machine: what the server has not got rid of, and what lies at the client.
        let (client, bytes) = if local.ends_with(&port) {
            (remote, unsent)
        } else if remote.ends_with(&port) {
            (local, unread)
        } else {
            continue;
        };
        *of.entry(client).or_default() += u64::from_str_radix(bytes, 16).unwrap_or_default();
    }
    of.into_values().filter(|bytes| *bytes > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_queues_of_a_connection_count_and_nobody_elses() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000002 00:00000000 00000000     0\n\
            1: 0100007F:1F90 0101007F:C001 01 00000100:00000000 01:00000014 00000000     0\n\
            2: 0101007F:C001 0100007F:1F90 01 00000000:00000010 00:00000000 00000000     0\n\
            3: 0100007F:1F90 0101007F:C002 01 00000000:00000007 00:00000000 00000000     0\n\
            4: 0101007F:C002 0100007F:1F90 01 00000009:00000000 00:00000000 00000000     0\n\
            5: 0100007F:1F91 0101007F:C003 01 00000100:00000000 00:00000000 00000000     0\n\
            6: 0100007F:1F90 0101007F:C004 04 00000100:00000000 00:00000000 00000000     0\n";
        assert_eq!(parse(table, 8080), [0x110]);
        assert_eq!(parse(table, 8081), [0x100]);
        assert_eq!(parse(table, 80), [0; 0]);
    }
}
