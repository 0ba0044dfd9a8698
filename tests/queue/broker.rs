//! What the tests rely on: the RabbitMQ of their own keeps what it has confirmed.

use serde_json::json;

use crate::support::broker::{Publication, broker, own_broker};

const QUORUM: &str = "quorum";

/// Body and properties come out as they went in, in their order.
#[test]
fn what_is_published_is_drained() {
    let Some(broker) = broker() else { return };
    assert_eq!(broker.count("published"), None);
    broker.declare("published", json!({ "x-queue-type": QUORUM }));
    let properties = json!({ "message_id": "m-1", "headers": { "x-try": 3 }, "delivery_mode": 2 });
    broker.publish("published", [Publication { body: b"\0\xff{".to_vec(), properties }, "{}".into()]);
    assert_eq!((broker.count("published"), broker.consumers("published")), (Some(2), 0));
    let taken = broker.drain("published");
    let bodies: Vec<&[u8]> = taken.iter().map(|taken| &taken.body[..]).collect();
    assert_eq!(bodies, [&b"\0\xff{"[..], b"{}"]);
    assert_eq!(taken[0].properties["message_id"], "m-1");
    assert_eq!(taken[0].properties["headers"]["x-try"], 3);
    assert_eq!(taken[1].properties["redelivered"], false);
    broker.delete("published");
    assert_eq!(broker.count("published"), None);
}

#[test]
fn it_says_where_it_is() {
    let Some(broker) = broker() else { return };
    assert!(broker.url().starts_with("amqp://mailsend@127.0.0.1:"), "{}", broker.url());
    assert!(broker.tls_url().starts_with("amqps://mailsend@localhost:"), "{}", broker.tls_url());
}

#[test]
fn what_is_confirmed_outlives_a_kill() {
    let Some(broker) = own_broker() else { return };
    broker.declare("kept", json!({ "x-queue-type": QUORUM }));
    broker.publish("kept", (0..20).map(|number| number.to_string()));
    broker.declare("empty", json!({ "x-queue-type": QUORUM }));
    broker.kill().wait();
    assert_eq!(broker.count("empty"), Some(0));
    assert!(broker.drain("empty").is_empty());
    let bodies: Vec<Vec<u8>> = broker.drain("kept").into_iter().map(|taken| taken.body).collect();
    assert_eq!(bodies, (0..20).map(|number| number.to_string().into_bytes()).collect::<Vec<_>>());
}
