//! Faults of a PostgreSQL: a killed postmaster, a full disk, a server that is still starting, one that
//! requires a password.

use std::fs::{self, File};

use postgres::error::SqlState;

use super::{PrivatePostgres, START, children_of, postgres_ids, process_state};
use crate::disk::SmallDisk;
use crate::{Db, eventually};

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
        let url = self.url();
        eventually("PostgreSQL to have room again", START, || {
            let child = self.child.as_mut().expect("the database was started");
            if child
                .try_wait()
                .expect("the child can be queried")
                .is_some()
            {
                self.child = None;
                self.restart();
            }
            postgres::Client::connect(&url, postgres::NoTls)
                .ok()
                .map(drop)
        });
    }

    /// Kills the postmaster alone; its processes notice that and end by themselves.
    pub fn kill9(&mut self) {
        let mut postmaster = self.child.take().expect("the database runs");
        let processes = children_of(postmaster.id());
        postmaster.kill().expect("the postmaster can be killed");
        postmaster.wait().expect("a killed process ends");
        eventually("its processes to end", START, || {
            let ended = |pid: &u32| process_state(*pid).is_none_or(|state| state == 'Z');
            processes.iter().all(ended).then_some(())
        });
    }

    /// Starts it so that it stays in the state of every start: it answers each connection with 57P03
    /// until `leave_standby`.
    pub fn start_in_standby(&mut self) {
        File::create(self.data().join(STANDBY)).expect("the folder is writable");
        self.launch(&["-c", "hot_standby=off"]);
        let url = self.url();
        eventually("PostgreSQL to answer 57P03", START, || {
            let refused = postgres::Client::connect(&url, postgres::NoTls).err()?;
            (refused.code() == Some(&SqlState::CANNOT_CONNECT_NOW)).then_some(())
        });
    }

    /// Stops what [`PrivatePostgres::start_in_standby`] started and starts it normally.
    pub fn leave_standby(&mut self) {
        self.stop();
        fs::remove_file(self.data().join(STANDBY)).expect("the file is there");
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
