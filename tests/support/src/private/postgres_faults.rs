//! What befalls a PostgreSQL: its postmaster is killed, its disk is full, it is still starting, it
//! asks for a password, it is put back to an older state.

use std::io::{ErrorKind, Write};

use postgres::error::SqlState;

use super::*;
use crate::Db;

const STANDBY: &str = "standby.signal";

/// A file system in memory, gone with its test.
pub(super) struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, mib: u32) -> SmallDisk {
        let (user, group) = postgres_ids().unwrap_or_default();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={mib}m,mode=0700,uid={user},gid={group}"))
            .arg("tmpfs")
            .arg(at)
            .output()
            .expect("`mount` can be started");
        assert!(
            mounted.status.success(),
            "this test fills a disk of its own and must be root, with the right to mount one: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        SmallDisk(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process of the killed server may not have ended yet.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

impl PrivatePostgres {
    /// With its data on a disk of so many MiB.
    pub fn on_small_disk(mib: u32) -> PrivatePostgres {
        let mut postgres = PrivatePostgres::empty();
        fs::create_dir(postgres.data()).expect("the folder can be made");
        postgres.disk = Some(SmallDisk::mount(&postgres.data(), mib));
        postgres.make();
        postgres.restart();
        postgres
    }

    fn ballast(&self) -> PathBuf {
        self.data().join("ballast")
    }

    /// Fills its disk but for so many bytes.
    pub fn fill_disk(&self, left: u64) {
        let mut ballast = File::create(self.ballast()).expect("the disk can be written");
        let block = vec![0; 64 * 1024];
        let full = loop {
            if let Err(error) = ballast.write_all(&block) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
        let written = ballast.metadata().expect("the file is there").len();
        assert!(written > left, "there was less than {left} free");
        ballast
            .set_len(written - left)
            .expect("a file can be made shorter");
    }

    /// Makes room, and starts the server where the full disk brought it down.
    pub fn free_disk(&mut self) {
        fs::remove_file(self.ballast()).expect("the ballast is there");
        let url = self.url();
        eventually("PostgreSQL to have room again", START, || {
            let child = self.child.as_mut().expect("the database was started");
            if child.try_wait().expect("it can be asked").is_some() {
                self.child = None;
                self.restart();
            }
            postgres::Client::connect(&url, postgres::NoTls)
                .ok()
                .map(drop)
        });
    }

    /// Kills the postmaster alone; its processes notice that it is gone and end by themselves.
    pub fn kill9(&mut self) {
        let mut postmaster = self.child.take().expect("the database runs");
        let processes = children_of(postmaster.id());
        postmaster.kill().expect("it can be killed");
        postmaster.wait().expect("a killed process ends");
        eventually("its processes to end", START, || {
            let ended = |pid: &u32| process_state(*pid).is_none_or(|state| state == 'Z');
            processes.iter().all(ended).then_some(())
        });
    }

    /// Starts it so that it stays in what every start goes through: it answers each connection with
    /// 57P03 until it is stopped and started again.
    pub fn start_and_stay_starting(&mut self) {
        File::create(self.data().join(STANDBY)).expect("the folder is writable");
        self.launch(&["-c", "hot_standby=off"]);
        let url = self.url();
        eventually("it to refuse connections for now", START, || {
            let refused = postgres::Client::connect(&url, postgres::NoTls).err()?;
            (refused.code() == Some(&SqlState::CANNOT_CONNECT_NOW)).then_some(())
        });
    }

    /// Stops what [`PrivatePostgres::start_and_stay_starting`] started and starts it in earnest.
    pub fn start_in_earnest(&mut self) {
        self.stop();
        fs::remove_file(self.data().join(STANDBY)).expect("the file is there");
        self.restart();
    }

    /// From now on this role must give a password.
    pub fn ask_for_password(&self, role: &str) {
        let rules = self.data().join("pg_hba.conf");
        let others = fs::read_to_string(&rules).expect("the rules can be read");
        let rule = format!("host all {role} 127.0.0.1/32 scram-sha-256\n{others}");
        fs::write(&rules, rule).expect("the rules can be written");
        Db::open(&self.url()).run("SELECT pg_reload_conf()");
    }
}
