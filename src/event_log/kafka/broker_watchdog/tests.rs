//! A broker whose metadata names no broker, which a true one does for some milliseconds only.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::KafkaLog;
use crate::event_log::TopicAdmin;

const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;
const UNSUPPORTED_VERSION: i16 = 35;

/// So many that the client's other threads run before the response has been handled completely.
const PARTITIONS: i32 = 50_000;

/// Speaks no more of Kafka's protocol than ApiVersions 0 and Metadata 4.
struct Broker {
    port: u16,
    is_fenced: Arc<AtomicBool>,
}

impl Broker {
    fn start() -> Broker {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let is_fenced = Arc::new(AtomicBool::new(false));
        let fenced = is_fenced.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let fenced = fenced.clone();
                thread::spawn(move || serve(stream, port, &fenced));
            }
        });
        Broker { port, is_fenced }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// Responds until the client closes the connection.
fn serve(mut stream: TcpStream, port: u16, is_fenced: &AtomicBool) -> Option<()> {
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length).ok()?;
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut request).ok()?;
        let number = |at: usize| i16::from_be_bytes([request[at], request[at + 1]]);
        let (api, version) = (number(0), number(2));
        let mut response = request[4..8].to_vec();
        match api {
            API_VERSIONS => versions(&mut response, version),
            METADATA => metadata(&mut response, port, is_fenced.load(Ordering::Relaxed)),
            _ => return None,
        }
        stream
            .write_all(&(response.len() as u32).to_be_bytes())
            .ok()?;
        stream.write_all(&response).ok()?;
    }
}

fn versions(response: &mut Vec<u8>, requested: i16) {
    let error = if requested == 0 {
        0
    } else {
        UNSUPPORTED_VERSION
    };
    response.extend(error.to_be_bytes());
    response.extend(2_i32.to_be_bytes());
    for (api, newest) in [(METADATA, 4_i16), (API_VERSIONS, 0)] {
        for number in [api, 0, newest] {
            response.extend(number.to_be_bytes());
        }
    }
}

fn metadata(response: &mut Vec<u8>, port: u16, is_fenced: bool) {
    const NODE: i32 = 1;
    let text = |response: &mut Vec<u8>, text: &str| {
        response.extend((text.len() as i16).to_be_bytes());
        response.extend(text.as_bytes());
    };
    let numbers = |response: &mut Vec<u8>, numbers: &[i32]| {
        let bytes = numbers.iter().flat_map(|number| number.to_be_bytes());
        response.extend(bytes);
    };
    let throttle_ms = 0;
    if is_fenced {
        numbers(response, &[throttle_ms, 0]);
    } else {
        numbers(response, &[throttle_ms, 1, NODE]);
        text(response, "127.0.0.1");
        numbers(response, &[port.into()]);
        response.extend((-1_i16).to_be_bytes()); // no rack
    }
    text(response, "cluster");
    numbers(response, &[NODE, 1]);
    response.extend(0_i16.to_be_bytes()); // no error
    text(response, "orders");
    response.push(0); // not internal
    numbers(response, &[PARTITIONS]);
    for partition in 0..PARTITIONS {
        response.extend(0_i16.to_be_bytes()); // no error
        numbers(response, &[partition, NODE, 1, NODE, 1, NODE]);
    }
}

#[test]
fn a_client_that_lost_all_brokers_gets_them_back() {
    let broker = Broker::start();
    let log = KafkaLog::open(&broker.address(), &[], None).expect("the log opens");
    let until = Instant::now() + Duration::from_secs(30);
    let wait_for = |brokers: usize| {
        while log.brokers().ok() != Some(brokers) {
            assert!(
                Instant::now() < until,
                "the client never knew {brokers} brokers"
            );
            thread::yield_now();
        }
    };
    wait_for(1);
    broker.is_fenced.store(true, Ordering::Relaxed);
    wait_for(0);
    broker.is_fenced.store(false, Ordering::Relaxed);
    wait_for(1);
}
