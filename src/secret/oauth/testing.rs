//! An endpoint that answers as a test says, for the tests of this folder.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread::{self, JoinHandle},
};

use crate::{
    config::{Environment, Flow, OAuthClient, Provider},
    secret::{Wanted, tests},
};

/// Gives these answers, one after the other; all of them have to be asked for.
pub(super) fn endpoint(answers: Vec<(u16, String)>) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = Vec::new();
            let mut block = [0; 4096];
            // The form is small: it is there when its last field is.
            while !String::from_utf8_lossy(&heard).contains("client_id=") {
                let count = stream.read(&mut block).unwrap();
                assert!(count > 0, "a form is wanted");
                heard.extend_from_slice(&block[..count]);
            }
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    (url, thread)
}

/// Somebody whose tokens are wanted.
pub(super) fn wanted(environment: Environment) -> Wanted {
    tests::wanted(environment, Some("work"))
}

/// A client whose endpoints are all this one.
pub(super) fn settings(endpoint: &str, flow: Flow) -> OAuthClient {
    OAuthClient {
        provider: Provider::Custom,
        flow,
        client_id: Some("id".to_owned()),
        client_secret: None,
        private_key: None,
        certificate: None,
        service_account: None,
        scopes: vec!["mail".to_owned()],
        token_endpoint: endpoint.to_owned(),
        authorize_endpoint: Some(endpoint.to_owned()),
        device_endpoint: Some(endpoint.to_owned()),
        redirect_uri: None,
    }
}
