/* Text out and lines in. Until the virtio driver runs, the device's emergency write takes the text. */

#include "kernel.h"
#include "syscalls.h"

/* Of struct virtio_console_config. */
#define EMERGENCY_WRITE 8

#define BACKSPACE 8
#define DELETE 127

static enum { NONE, EMERGENCY, VIRTIO } output;

void console_init(void)
{
	if (pci_init())
		return;
	output = EMERGENCY;
	if (virtio_console_init())
		print("console: the virtio device refuses, so there is no input\n");
	else
		output = VIRTIO;
}

void print_bytes(const char *text, u32 length)
{
	if (output == VIRTIO)
		virtio_console_write(text, length);
	if (output == EMERGENCY)
		for (u32 i = 0; i < length; i++)
			bar_write(CAP_DEVICE, EMERGENCY_WRITE, 4, (u8)text[i]);
}

void print(const char *text)
{
	u32 length = 0;

	while (text[length])
		length++;
	print_bytes(text, length);
}

void print_decimal(u32 value)
{
	char text[10];
	u32 at = sizeof text;

	do {
		text[--at] = '0' + value % 10;
		value /= 10;
	} while (value);
	print_bytes(text + at, sizeof text - at);
}

void console_interrupt(void)
{
	virtio_console_acknowledge();
	wake(WAITING_INPUT);
}

/* Nothing is lost between the look and the sleep, because interrupts are off in the kernel. */
static char next_byte(void)
{
	int byte;

	while ((byte = virtio_console_read()) < 0)
		block(WAITING_INPUT);
	return byte;
}

/* Echoes as it reads, not as bytes arrive: typing ahead does not mix with what a command prints. */
u32 read_line(char *line, u32 size)
{
	static char last;
	u32 length = 0;

	if (output != VIRTIO)
		return NO_INPUT;
	for (;;) {
		char byte = next_byte(), before = last;

		last = byte;
		if (byte == '\n' && before == '\r')
			continue;
		if (byte == '\r' || byte == '\n')
			break;
		if ((byte == BACKSPACE || byte == DELETE) && length) {
			length--;
			print("\b \b");
		}
		/* What has no place or no shape is not echoed either. */
		if (byte >= ' ' && byte < DELETE && length + 1 < size) {
			line[length++] = byte;
			print_bytes(&byte, 1);
		}
	}
	line[length] = 0;
	print("\n");
	return length;
}
