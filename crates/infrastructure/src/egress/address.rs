//! Which addresses are public.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether the address is a public unicast one, also after unwrapping IPv6 forms that carry an IPv4 address.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

/// Whether the address is one that organisations give to machines of their own: this machine, RFC 1918, RFC 6598 and
/// unique local IPv6. Not link-local, where clouds keep their metadata, nor AWS's metadata network among the latter.
pub(super) fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_loopback()
                || v4.is_private()
                // Alibaba keeps its metadata service inside of RFC 6598.
                || (a == 100 && (64..128).contains(&b) && v4 != Ipv4Addr::new(100, 100, 100, 200))
        }
        IpAddr::V6(v6) => {
            let s = v6.segments();
            v6.is_loopback() || ((s[0] & 0xfe00) == 0xfc00 && !(s[0] == 0xfd00 && s[1] == 0x0ec2))
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    // IANA's special-purpose registry, and everything from multicast up.
    !(a == 0
        || a == 10
        || a == 127
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 169 && b == 254)
        || (a == 172 && (16..32).contains(&b))
        || (a == 192 && b == 168)
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 192 && b == 88 && c == 99)
        || (a == 192 && b == 31 && c == 196)
        || (a == 192 && b == 52 && c == 193)
        || (a == 192 && b == 175 && c == 48)
        || (a == 198 && (b == 18 || b == 19))
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113)
        // Azure's platform service, on an address that looks public.
        || address == Ipv4Addr::new(168, 63, 129, 16))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let s = address.segments();
    if let Some(v4) = address.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    match s {
        // NAT64: what is reached is the IPv4 address at the end.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => return is_public_v4(embedded(high, low)),
        // 6to4 and Teredo tunnels carry IPv4 addresses too, and nobody runs a tracker behind one.
        [0x2002, ..] | [0x2001, 0, ..] => return false,
        // ISATAP: any prefix, then 0:5efe or 200:5efe and an IPv4 address.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] if !is_public_v4(embedded(high, low)) => return false,
        _ => {}
    }
    // Only 2000::/3 is given out as global unicast; the rest is loopback, ULA, link-local, multicast or reserved.
    (s[0] & 0xe000) == 0x2000
        // 2001::/23 protocol assignments (benchmarking, ORCHID, …) and 2001:db8::/32, 3fff::/20 documentation.
        && !(s[0] == 0x2001 && (s[1] < 0x200 || s[1] == 0xdb8))
        && !(s[0] == 0x3fff && s[1] < 0x1000)
        // AS112 sinkholes. (AWS keeps its metadata service in fd00:ec2::/32, which is not in 2000::/3.)
        && !(s[0] == 0x2620 && s[1] == 0x4f && s[2] == 0x8000)
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}
