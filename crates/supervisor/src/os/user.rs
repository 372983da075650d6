//! Who a program runs as, and who owns a file.

use std::ffi::CString;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

/// A user with everything that a process of his needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// The user.
    pub uid: Uid,
    /// His group.
    pub gid: Gid,
    /// All his groups.
    pub groups: Vec<Gid>,
    /// His name.
    pub name: String,
    /// His home.
    pub home: String,
}

/// The user of this name or number.
pub fn user(name: &str) -> Result<Ids, String> {
    let found = match name.parse() {
        Ok(uid) => User::from_uid(Uid::from_raw(uid)),
        Err(_) => User::from_name(name),
    };
    let user = found.ok().flatten().ok_or_else(|| format!("there is no user {name:?}"))?;
    let c_name = CString::new(user.name.as_str()).map_err(|_| format!("{name:?} is no user name"))?;
    let groups = getgrouplist(&c_name, user.gid).unwrap_or_else(|_| vec![user.gid]);
    Ok(Ids { uid: user.uid, gid: user.gid, groups, name: user.name, home: user.dir.display().to_string() })
}

/// `user` or `user:group` of a file.
pub fn owner(text: &str) -> Result<(Uid, Gid), String> {
    let (name, group) = text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
    let ids = user(name)?;
    let gid = match group {
        None | Some("") => ids.gid,
        Some(group) => match group.parse() {
            Ok(gid) => Gid::from_raw(gid),
            Err(_) => {
                let found = Group::from_name(group).ok().flatten();
                found.ok_or_else(|| format!("there is no group {group:?}"))?.gid
            }
        },
    };
    Ok((ids.uid, gid))
}
