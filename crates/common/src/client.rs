//! Where a request comes from: the client's address, through proxies that are known by theirs.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use axum::http::HeaderMap;
use ipnet::IpNet;

use crate::Env;

/// The proxies whose word about their clients counts. Anybody can write such a header, so that of
/// all others it means nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// `TRUSTED_PROXIES`: addresses and networks (`10.0.0.0/8`), with commas between them.
    pub fn from_env(env: &mut Env, default: &str) -> Self {
        let default = default.parse().unwrap_or_default();
        env.parse("TRUSTED_PROXIES", default)
    }

    /// Whether it is one of them.
    pub fn include(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }

    /// The client's address: who talks to us, or, as long as that is a proxy of ours, whom it
    /// names. `None`: the proxy names nobody, and the client may be anybody.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        let peer = peer.to_canonical();
        if !self.include(peer) {
            return Some(peer);
        }
        let classic: Vec<&str> = lines(headers, "x-forwarded-for").collect();
        let standard: Vec<&str> = lines(headers, "forwarded").filter_map(forwarded_for).collect();
        match (self.last_stranger(&classic), self.last_stranger(&standard)) {
            // A proxy writes one of the two; the other may be the client's own invention.
            (Some(one), Some(other)) if one != other => Some(peer),
            (one, other) => one.or(other),
        }
    }

    /// Each proxy adds whom it talks to at the end: the last one that is no proxy is the client.
    fn last_stranger(&self, hops: &[&str]) -> Option<IpAddr> {
        let mut nearest = None;
        for hop in hops.iter().rev() {
            let Some(address) = address(hop) else { break };
            nearest = Some(address);
            if !self.include(address) {
                break;
            }
        }
        nearest
    }
}

impl FromStr for Proxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let net = |name: &str| name.parse().or_else(|_| name.parse::<IpAddr>().map(IpNet::from));
        let nets = names.map(|name| net(name).map_err(|_| format!("{name:?} is no address and no network")));
        Ok(Self(nets.collect::<Result<_, _>>()?))
    }
}

/// What one client has to itself: an IPv4 address, or the /64 network of an IPv6 one, in which it
/// may choose any.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// The elements of a header that is a list, and that may come in several lines.
fn lines<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or_default());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// The `for` of one element of `Forwarded` (RFC 7239).
fn forwarded_for(element: &str) -> Option<&str> {
    let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    Some(value.trim_matches('"'))
}

/// An address, perhaps with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse::<IpAddr>().ok().or_else(with_port).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    use super::{IpAddr, Proxies, network};

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn client(peer: &str, headers: &[(&'static str, &'static str)]) -> Option<String> {
        let proxies: Proxies = "10.0.0.0/8, ::1, fd00::/8".parse().expect("a list");
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        proxies.client(ip(peer), &headers).map(|address| address.to_string())
    }

    #[test]
    fn who_is_no_proxy_speaks_for_itself() {
        for headers in [&[][..], &[("x-forwarded-for", "1.2.3.4")], &[("forwarded", "for=1.2.3.4")]] {
            assert_eq!(client("9.9.9.9", headers).as_deref(), Some("9.9.9.9"), "{headers:?}");
            assert_eq!(client("::ffff:9.9.9.9", headers).as_deref(), Some("9.9.9.9"), "{headers:?}");
        }
    }

    #[test]
    fn a_proxy_names_its_client() {
        for (headers, expected) in [
            (&[][..], None),
            (&[("x-forwarded-for", "1.2.3.4")], Some("1.2.3.4")),
            (&[("x-forwarded-for", "1.2.3.4:567")], Some("1.2.3.4")),
            (&[("x-forwarded-for", "1.2.3.4, 10.1.1.1")], Some("1.2.3.4")),
            // What stands further to the front the client may have invented.
            (&[("x-forwarded-for", "6.6.6.6, 1.2.3.4")], Some("1.2.3.4")),
            (&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "1.2.3.4, 10.1.1.1")], Some("1.2.3.4")),
            (&[("x-forwarded-for", "6.6.6.6, unknown, 10.1.1.1")], Some("10.1.1.1")),
            (&[("x-forwarded-for", "nonsense")], None),
            (&[("x-forwarded-for", "10.3.3.3, 10.1.1.1")], Some("10.3.3.3")),
            (&[("forwarded", "for=6.6.6.6, For=\"[2001:db8::1]:4711\";proto=https")], Some("2001:db8::1")),
            (&[("forwarded", "for=1.2.3.4"), ("x-forwarded-for", "1.2.3.4")], Some("1.2.3.4")),
            (&[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "1.2.3.4")], Some("10.1.2.3")),
        ] {
            assert_eq!(client("10.1.2.3", headers).as_deref(), expected, "{headers:?}");
        }
        assert_eq!(client("::1", &[("x-forwarded-for", "::ffff:1.2.3.4")]).as_deref(), Some("1.2.3.4"));
    }

    #[test]
    fn what_is_no_network_is_told() {
        assert!("10.0.0.0/8, here".parse::<Proxies>().expect_err("no address").contains("\"here\""));
        assert_eq!("".parse::<Proxies>(), Ok(Proxies::default()));
    }

    #[test]
    fn one_client_has_a_network_to_itself() {
        assert_eq!(network(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_eq!(network(ip("::ffff:1.2.3.4")), ip("1.2.3.4"));
    }
}
