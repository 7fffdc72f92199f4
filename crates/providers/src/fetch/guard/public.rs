//! Which addresses belong to the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks of IPv4 that are not the public internet, by the registry of special-purpose addresses.
#[rustfmt::skip]
const SPECIAL_V4: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8), ([10, 0, 0, 0], 8), ([100, 64, 0, 0], 10), ([127, 0, 0, 0], 8), ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12), ([192, 0, 0, 0], 24), ([192, 0, 2, 0], 24), ([192, 88, 99, 0], 24), ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15), ([198, 51, 100, 0], 24), ([203, 0, 113, 0], 24), ([224, 0, 0, 0], 3),
];

/// Networks of IPv6 within 2000::/3 that are not: protocol assignments with Teredo, 6to4, and documentation.
#[rustfmt::skip]
const SPECIAL_V6: &[([u16; 3], u32)] = &[
    ([0x2001, 0, 0], 23), ([0x2001, 0xdb8, 0], 32), ([0x2002, 0, 0], 16), ([0x3fff, 0, 0], 20),
];

/// True for addresses that anyone on the internet could reach, too.
///
/// Ways to write an IPv4 address in IPv6 other than the mapped one (NAT64, 6to4, Teredo) are refused whatever they
/// hold: where they lead depends on the network we are in.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or_else(|| is_public_v6(ip), is_public_v4),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|&(network, bits)| {
        let mask = u32::MAX << (32 - bits);
        ip.to_bits() & mask == Ipv4Addr::from(network).to_bits()
    })
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let within = |[a, b, c]: [u16; 3], bits: u32| {
        let mask = u128::MAX << (128 - bits);
        ip.to_bits() & mask == Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_bits()
    };
    within([0x2000, 0, 0], 3) && !SPECIAL_V6.iter().any(|&(network, bits)| within(network, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_end_where_they_end() {
        let cases = [
            ("0.255.255.255", false),
            ("1.0.0.0", true),
            ("9.255.255.255", true),
            ("10.0.0.0", false),
            ("10.255.255.255", false),
            ("11.0.0.0", true),
            ("100.63.255.255", true),
            ("100.64.0.0", false),
            ("100.127.255.255", false),
            ("100.128.0.0", true),
            ("126.255.255.255", true),
            ("127.255.255.255", false),
            ("169.253.255.255", true),
            ("169.254.0.0", false),
            ("169.255.0.0", true),
            ("172.15.255.255", true),
            ("172.16.0.0", false),
            ("172.31.255.255", false),
            ("172.32.0.0", true),
            ("191.255.255.255", true),
            ("192.0.0.255", false),
            ("192.0.1.0", true),
            ("192.0.2.255", false),
            ("192.88.98.255", true),
            ("192.88.99.0", false),
            ("192.167.255.255", true),
            ("192.168.255.255", false),
            ("192.169.0.0", true),
            ("198.17.255.255", true),
            ("198.19.255.255", false),
            ("198.20.0.0", true),
            ("198.51.100.255", false),
            ("203.0.112.255", true),
            ("203.0.113.0", false),
            ("223.255.255.255", true),
            ("224.0.0.0", false),
            ("255.255.255.255", false),
            ("1fff:ffff::", false),
            ("2000::1", true),
            ("2001:1ff::1", false),
            ("2001:200::1", true),
            ("2001:db7:ffff::1", true),
            ("2001:db8:ffff::1", false),
            ("2001:db9::1", true),
            ("2002:808:808::1", false),
            ("2003::1", true),
            ("3ffe:ffff::1", true),
            ("3fff:fff::1", false),
            ("3fff:1000::1", true),
            ("4000::1", false),
            ("::ffff:8.8.8.8", true),
            ("::ffff:192.168.0.1", false),
            ("::8.8.8.8", false),
            ("64:ff9b::808:808", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
        ];
        for (ip, public) in cases {
            assert_eq!(is_public(ip.parse().unwrap()), public, "{ip}");
        }
    }
}
