//! A file system that never answers: whoever looks into it is stuck, and not even SIGKILL helps.

use std::fs::{File, OpenOptions, create_dir};
use std::io::{Read, Write};
use std::process::Command;

use crate::daemon::Daemon;

/// The end of the file system that the kernel asks; everybody is let go when it is dropped.
pub(crate) struct Fuse(File);

impl Fuse {
    /// Mounts it in a new folder of the daemon's, in the daemon's own mount namespace.
    pub(crate) fn mount(daemon: &Daemon, folder: &str) -> Self {
        create_dir(daemon.path(folder)).unwrap();
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").unwrap();
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &daemon.pid.to_string(), "mount", "-i", "-t", "fuse", "-o"]);
        command.arg("fd=0,rootmode=40000,user_id=0,group_id=0").arg("stuck").arg(daemon.path(folder));
        assert!(command.stdin(device.try_clone().unwrap()).status().unwrap().success());
        Self(device)
    }

    /// Takes part in the opening words, then takes one question and keeps it for ever.
    pub(crate) fn take_one(&mut self) {
        // FUSE_INIT: header, then the version of the kernel's side.
        let mut question = vec![0; 1 << 17];
        let length = self.0.read(&mut question).unwrap();
        assert!(length >= 48, "an opening question of {length} bytes");
        let unique = &question[8..16];
        let mut answer = Vec::new();
        answer.extend_from_slice(&(16_u32 + 64).to_ne_bytes());
        answer.extend_from_slice(&0_i32.to_ne_bytes());
        answer.extend_from_slice(unique);
        answer.extend_from_slice(&7_u32.to_ne_bytes());
        answer.extend_from_slice(&31_u32.to_ne_bytes());
        answer.extend_from_slice(&[0; 56]);
        self.0.write_all(&answer).unwrap();
        let length = self.0.read(&mut question).unwrap();
        assert!(length >= 40, "a question of {length} bytes");
    }
}
