/* expect: stop="guest powered off" status=0 */
/*
 * QEMU's own network: addresses by DHCP and ARP, echoes, and a file of the TFTP server at 10.0.2.2. Nothing
 * there ever repeats itself, so a frame that is lost anywhere is waited for for ever.
 */

#include "net.h"

#define IP 0x0800
#define ARP 0x0806
#define ICMP 1
#define UDP 17

#define OUR_PORT 2048
/* Bytes of a block, the largest that fits the frame of this server. */
#define BLOCK_BYTES 1428

#define GATEWAY 0x0a000202

static u8 frame[LARGEST_FRAME], gateway[6];
static u32 our_address;
static u32 bad_checksums;

static u32 get16(const u8 *at)
{
	return at[0] << 8 | at[1];
}

static u32 get32(const u8 *at)
{
	return get16(at) << 16 | get16(at + 2);
}

static void put16(u8 *at, u32 value)
{
	at[0] = value >> 8;
	at[1] = value;
}

static void put32(u8 *at, u32 value)
{
	put16(at, value >> 16);
	put16(at + 2, value);
}

static void copy(u8 *to, const void *from, u32 length)
{
	const u8 *at = from;

	while (length--)
		*to++ = *at++;
}

static u32 length_of(const char *text)
{
	u32 length = 0;

	while (text[length])
		length++;
	return length;
}

/* The internet checksum (RFC 1071), added to `sum`. */
static u32 ones_sum(u32 sum, const u8 *bytes, u32 length)
{
	for (; length > 1; bytes += 2, length -= 2)
		sum += get16(bytes);
	if (length)
		sum += *bytes << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static u8 *ethernet(const u8 *to, u32 type)
{
	copy(frame, to, 6);
	copy(frame + 6, net_address, 6);
	put16(frame + 12, type);
	return frame + ETHERNET;
}

/* The sum that a UDP checksum starts with. */
static u32 pseudo_header(const u8 *ip, u32 length)
{
	return ones_sum(UDP + length, ip + 12, 8);
}

static void send_ip(u32 protocol, const u8 *to, u32 address, u32 length)
{
	u8 *ip = ethernet(to, IP);

	put32(ip, 0x45000000 | (20 + length));
	put32(ip + 4, 0);
	put32(ip + 8, 64 << 24 | protocol << 16);
	put32(ip + 12, our_address);
	put32(ip + 16, address);
	put16(ip + 10, ~ones_sum(0, ip, 20));
	net_send(frame, ETHERNET + 20 + length);
}

/* Where the bytes of a datagram go. */
static u8 *datagram(void)
{
	return frame + ETHERNET + 20 + 8;
}

static void send_udp(const u8 *to, u32 address, u32 from_port, u32 to_port, u32 length)
{
	u8 *udp = datagram() - 8;
	u32 sum;

	put16(udp, from_port);
	put16(udp + 2, to_port);
	put16(udp + 4, 8 + length);
	put16(udp + 6, 0);
	/* The addresses have to be there for the sum. */
	put32(udp - 8, our_address);
	put32(udp - 4, address);
	sum = ones_sum(pseudo_header(udp - 20, 8 + length), udp, 8 + length);
	put16(udp + 6, sum == 0xffff ? sum : ~sum);
	send_ip(UDP, to, address, 8 + length);
}

/* Sleeps until a packet of this protocol comes; where its contents are, and how long they are. */
static const u8 *receive_ip(u32 protocol, u32 *length)
{
	for (;;) {
		const u8 *got;
		u32 bytes = net_receive(&got), total;

		got += ETHERNET;
		if (bytes < ETHERNET + 20 || get16(got - 2) != IP || got[9] != protocol)
			continue;
		total = get16(got + 2);
		bad_checksums += ones_sum(0, got, 20) != 0xffff || ETHERNET + total > bytes;
		if (protocol == UDP && get16(got + 26) != 0)
			bad_checksums += ones_sum(pseudo_header(got, total - 20), got + 20, total - 20) != 0xffff;
		if (protocol == ICMP)
			bad_checksums += ones_sum(0, got + 20, total - 20) != 0xffff;
		*length = total - 20;
		return got + 20;
	}
}

static const u8 *receive_udp(u32 port, u32 *length)
{
	for (;;) {
		const u8 *udp = receive_ip(UDP, length);

		if (get16(udp + 2) != port)
			continue;
		*length -= 8;
		return udp + 8;
	}
}

#define DISCOVER 1
#define OFFER 2
#define REQUEST 3
#define ACKNOWLEDGED 5

/* RFC 2131: a message of this type that wants an address, the one that it is given, and the answer's type. */
static u32 dhcp(u32 type, u32 wanted, u32 *given)
{
	static const u8 all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	u8 *message = datagram();
	const u8 *answer;
	u32 length;

	for (u32 i = 0; i < 260; i++)
		message[i] = 0;
	put32(message, 0x01010600);
	put32(message + 4, 0x6c696268);
	copy(message + 28, net_address, 6);
	put32(message + 236, 0x63825363);
	copy(message + 240, (u8[]){ 53, 1, type, 50, 4 }, 5);
	put32(message + 245, wanted);
	message[249] = 0xff;
	send_udp(all, 0xffffffff, 68, 67, 260);
	answer = receive_udp(68, &length);
	*given = get32(answer + 16);
	/* The type is the first option of this server's. */
	return answer[240] == 53 ? answer[242] : 0;
}

static void addresses(void)
{
	u32 address;

	check("LG-161", "DHCP offers", dhcp(DISCOVER, 0, &address), OFFER);
	check("LG-161", "10.0.2.15", address, 0x0a00020f);
	check("LG-161", "and acknowledges", dhcp(REQUEST, address, &our_address), ACKNOWLEDGED);
	check("LG-161", "that address", our_address, address);
}

static void resolve(void)
{
	static const u8 all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	u8 *arp = ethernet(all, ARP);
	const u8 *got;

	put32(arp, 0x00010800);
	put32(arp + 4, 0x06040001);
	copy(arp + 8, net_address, 6);
	put32(arp + 14, our_address);
	copy(arp + 18, all, 6);
	put32(arp + 24, GATEWAY);
	net_send(frame, ETHERNET + 28);
	do
		net_receive(&got);
	while (get16(got + 12) != ARP || get16(got + ETHERNET + 6) != 2);
	copy(gateway, got + ETHERNET + 8, 6);
	check("LG-161", "ARP: 10.0.2.2 answers", get32(got + ETHERNET + 14), GATEWAY);
	check("LG-161", "with its address", get16(gateway) << 16 | get16(gateway + 4), 0x52550202);
}

static void echoes(void)
{
	u32 wrong = 0;

	for (u32 bytes = 0; bytes <= 1472; bytes += 64) {
		u8 *icmp = frame + ETHERNET + 20;
		const u8 *got;
		u32 length, sum;

		put32(icmp, 0x08000000);
		put32(icmp + 4, bytes);
		for (u32 i = 0; i < bytes; i++)
			icmp[8 + i] = bytes + i * 7;
		sum = checksum(FNV_START, icmp + 8, bytes);
		put16(icmp + 2, ~ones_sum(0, icmp, 8 + bytes));
		send_ip(ICMP, gateway, GATEWAY, 8 + bytes);
		got = receive_ip(ICMP, &length);
		wrong += length != 8 + bytes || got[0] != 0 || get32(got + 4) != bytes ||
			 checksum(FNV_START, got + 8, bytes) != sum;
	}
	check("A-35", "24 echoes of 0 to 1472 bytes", wrong, 0);
}

static u32 append(u8 *at, const char *text)
{
	copy(at, text, length_of(text) + 1);
	return length_of(text) + 1;
}

/* RFC 1350, with the block size of RFC 2348. */
static void fetch(void)
{
	u8 *request = datagram();
	u32 length, sum = FNV_START, total = 0, block = 0, wrong = 0;
	const u8 *got;

	put16(request, 1);
	length = 2;
	length += append(request + length, "file");
	length += append(request + length, "octet");
	length += append(request + length, "blksize");
	length += append(request + length, "1428");
	send_udp(gateway, GATEWAY, OUR_PORT, 69, length);
	got = receive_udp(OUR_PORT, &length);
	check("LG-161", "TFTP: the block size is acknowledged", get16(got), 6);
	do {
		u32 bytes;

		put16(datagram(), 4);
		put16(datagram() + 2, block);
		send_udp(gateway, GATEWAY, OUR_PORT, 69, 4);
		got = receive_udp(OUR_PORT, &bytes);
		block++;
		wrong += get16(got) != 3 || get16(got + 2) != (block & 0xffff);
		length = bytes - 4;
		sum = checksum(sum, got + 4, length);
		total += length;
	} while (length == BLOCK_BYTES);
	check("LG-161", "blocks out of order", wrong, 0);
	print("file of ");
	print_decimal(total);
	print(" bytes, sum ");
	print_hex(sum);
	print("\n");
}

void guest_main(void)
{
	guest_init();
	interrupts_init();
	check("LG-157", "there is a network device", net_start(), 1);
	addresses();
	resolve();
	echoes();
	fetch();
	check("A-35", "wrong checksums in what came", bad_checksums, 0);
}
