//! Who a program runs as, who the daemon runs as, and who owns a file.

use std::ffi::CString;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist, getgroups, getuid};

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
    let (found, kind) = match name.parse() {
        Ok(uid) => (User::from_uid(Uid::from_raw(uid)), "id"),
        Err(_) => (User::from_name(name), "name"),
    };
    let user = found.ok().flatten().ok_or_else(|| format!("Invalid user {kind} {name}"))?;
    let c_name = CString::new(user.name.as_str()).map_err(|_| format!("Invalid user name {name}"))?;
    let groups = getgrouplist(&c_name, user.gid).unwrap_or_else(|_| vec![user.gid]);
    Ok(Ids { uid: user.uid, gid: user.gid, groups, name: user.name, home: user.dir.display().to_string() })
}

/// The group of this name or number; a number needs no entry in the system's list.
pub fn group(name: &str) -> Result<Gid, String> {
    match name.parse() {
        Ok(gid) => Ok(Gid::from_raw(gid)),
        Err(_) => {
            let found = Group::from_name(name).ok().flatten();
            Ok(found.ok_or_else(|| format!("Invalid group name {name}"))?.gid)
        }
    }
}

/// Whom a program runs as: its `user`, in `run_group` instead of his own group, with `supplementary_groups` instead
/// of his others. `None` if that is what the daemon is already, so that nothing has to be changed and no privilege
/// is needed for it (supervisor 4.3 `options.py:drop_privileges`).
pub fn resolve(
    name: Option<&str>,
    run_group: Option<&str>,
    supplementary: Option<&[String]>,
) -> Result<Option<Ids>, String> {
    let own = geteuid();
    let mut ids = match name {
        Some(name) => user(name)?,
        None => Ids {
            uid: own,
            gid: getegid(),
            groups: getgroups().unwrap_or_default(),
            name: own.to_string(),
            home: "/".to_owned(),
        },
    };
    if ids.uid == own && run_group.is_none() && supplementary.is_none() {
        return Ok(None);
    }
    if let Some(run_group) = run_group {
        let own_group = std::mem::replace(&mut ids.gid, group(run_group)?);
        ids.groups.retain(|gid| *gid != own_group);
    }
    if let Some(supplementary) = supplementary {
        ids.groups = supplementary.iter().map(|name| group(name)).collect::<Result<_, _>>()?;
    }
    if !ids.groups.contains(&ids.gid) {
        ids.groups.insert(0, ids.gid);
    }
    Ok(Some(ids))
}

/// Has the daemon become this user, for good. Must be called before it makes threads, files, sockets or processes
/// that are to be his. Returns the sentence for the log.
pub fn become_user(name: &str) -> Result<String, String> {
    let ids = user(name)?;
    let done = Ok(format!("Set uid to user {} succeeded", ids.uid));
    if getuid() == ids.uid {
        return done;
    }
    if !getuid().is_root() {
        return Err("Can't drop privilege as nonroot user".to_owned());
    }
    nix::unistd::setgroups(&ids.groups).map_err(|_| "Could not set groups of effective user".to_owned())?;
    nix::unistd::setgid(ids.gid).map_err(|_| "Could not set group id of effective user".to_owned())?;
    let refused = |errno: Errno| format!("Could not set user id of effective user: {}", errno.desc());
    nix::unistd::setuid(ids.uid).map_err(refused)?;
    // A process that may still become root again has dropped nothing.
    if !ids.uid.is_root() && nix::unistd::setuid(Uid::from_raw(0)).is_ok() {
        return Err("Could not give up root for good".to_owned());
    }
    done
}

/// What the log says, as CRIT, of a daemon that is root although its configuration does not say so.
#[must_use]
pub fn root_unasked(user: Option<&str>) -> Option<&'static str> {
    (user.is_none() && getuid().is_root()).then_some(
        "Supervisor is running as root.  Privileges were not dropped because no user is specified in the config \
         file.  If you intend to run as root, you can set user=root in the config file to avoid this message.",
    )
}

/// `user` or `user:group` of a file.
pub fn owner(text: &str) -> Result<(Uid, Gid), String> {
    let (name, of_group) = text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
    let ids = user(name)?;
    let gid = match of_group {
        None | Some("") => ids.gid,
        Some(name) => group(name)?,
    };
    Ok((ids.uid, gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_user_is_completed_by_its_groups() {
        let nobody = user("nobody").unwrap();
        let gid = |raw: u32| Gid::from_raw(raw);
        let extra = words(&["7", "8"]);
        for (run_group, supplementary, expected) in [
            (None, None, (nobody.gid, vec![nobody.gid])),
            (Some("7"), None, (gid(7), vec![gid(7)])),
            (None, Some(&extra[..]), (nobody.gid, vec![nobody.gid, gid(7), gid(8)])),
            (Some("7"), Some(&extra[..]), (gid(7), vec![gid(7), gid(8)])),
            (None, Some(&[][..]), (nobody.gid, vec![nobody.gid])),
        ] {
            let ids = resolve(Some("nobody"), run_group, supplementary).unwrap().unwrap();
            assert_eq!((ids.uid, (ids.gid, ids.groups)), (nobody.uid, expected));
        }
    }

    #[test]
    fn who_stays_what_the_daemon_is_needs_no_privilege() {
        let own = geteuid().to_string();
        assert_eq!(resolve(Some(&own), None, None), Ok(None));
        assert_eq!(resolve(None, None, None), Ok(None));
        assert_eq!(resolve(Some(&own), Some("7"), None).unwrap().unwrap().gid, Gid::from_raw(7));
    }

    #[test]
    fn who_is_nobody_is_named() {
        for (asked, said) in [
            (resolve(Some("no-such-user"), None, None), "Invalid user name no-such-user"),
            (resolve(Some("4000000001"), None, None), "Invalid user id 4000000001"),
            (resolve(Some("-1"), None, None), "Invalid user name -1"),
            (resolve(None, Some("no-such-group"), None), "Invalid group name no-such-group"),
            (resolve(None, None, Some(&words(&["no-such-group"]))), "Invalid group name no-such-group"),
        ] {
            assert_eq!(asked, Err(said.to_owned()));
        }
    }

    #[test]
    fn root_is_told_of_only_if_nobody_asked_for_it() {
        assert_eq!(root_unasked(Some("root")), None);
        assert_eq!(root_unasked(None).is_some(), getuid().is_root());
    }
}
