//! Faults of a PostgreSQL: a killed postmaster, a full disk, a server that is still starting, one that
//! requires a password.

use std::fs::{self, File};

use postgres::error::SqlState;

use super::START;
use super::postgres::{PrivatePostgres, children_of, postgres_ids};
use crate::disk::SmallDisk;
use crate::process::process_state;
use crate::{Db, eventually_ok, wait_until};

const STANDBY: &str = "standby.signal";

impl PrivatePostgres {
    /// With its data on a disk of so many MiB.
    pub fn on_small_disk(mib: u32) -> PrivatePostgres {
        let mut postgres = PrivatePostgres::empty();
        fs::create_dir(postgres.data()).expect("the folder can be made");
        let (user, group) = postgres_ids().unwrap_or_default();
        let options = format!("size={mib}m,mode=0700,uid={user},gid={group}");
        postgres.disk = Some(SmallDisk::mount_at(&postgres.data(), &options));
        postgres.make();
        postgres.restart();
        postgres
    }

    /// The disk of [`PrivatePostgres::on_small_disk`].
    pub fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().expect("the data are on a small disk")
    }

    /// Frees the disk, and starts the server where the full disk ended it.
    pub fn free_disk(&mut self) {
        self.disk().free();
        eventually_ok("PostgreSQL to have room again", START, || {
            if self.server.has_exited() {
                self.server.kill();
                self.restart();
            }
            self.connect().map(drop)
        });
    }

    /// Kills the postmaster alone; its processes notice that and exit by themselves.
    pub fn kill9(&mut self) {
        let processes = children_of(self.server.id());
        self.server.kill();
        wait_until("its processes to exit", START, || {
            let has_exited = |pid: &u32| process_state(*pid).is_none_or(|state| state == 'Z');
            processes.iter().all(has_exited)
        });
    }

    /// Starts it so that it stays in the state of every start: it answers each connection with 57P03
    /// until `leave_standby`.
    pub fn start_in_standby(&mut self) {
        File::create(self.data().join(STANDBY)).expect("the folder is writable");
        self.launch(&["-c", "hot_standby=off"]);
        wait_until("PostgreSQL to answer 57P03", START, || {
            let refused = self.connect().err();
            refused.is_some_and(|error| error.code() == Some(&SqlState::CANNOT_CONNECT_NOW))
        });
    }

    /// Stops what [`PrivatePostgres::start_in_standby`] started and starts it normally.
    pub fn leave_standby(&mut self) {
        self.stop();
        fs::remove_file(self.data().join(STANDBY)).expect("the file exists");
        self.restart();
    }

    /// Requires a password of this role from now on.
    pub fn require_password(&self, role: &str) {
        let rules = self.data().join("pg_hba.conf");
        let others = fs::read_to_string(&rules).expect("the rules can be read");
        let rule = format!("host all {role} 127.0.0.1/32 scram-sha-256\n{others}");
        fs::write(&rules, rule).expect("the rules can be written");
        Db::open(&self.url()).run("SELECT pg_reload_conf()");
    }
}
