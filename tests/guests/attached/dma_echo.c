/* expect: stop="guest powered off" status=0 */
/* The network of G1: frames go out, and come back from the other end as they went. */

#include "dma.h"
#include "echo.h"

/* Slots of the network's page: the host's, and the guest's. A slot's key is four bytes on. */
#define GUEST_SLOT 1
#define KEY_STEP 4

static struct lguest_dma outgoing;
static volatile struct lguest_dma incoming;
static u8 sent[PAGE] __attribute__((aligned(PAGE))), received[PAGE] __attribute__((aligned(PAGE)));

void guest_main(void)
{
	u32 key, length;

	guest_init();
	dma_init();
	key = dma_find(DMA_NET);
	dma_cover(&incoming, received, PAGE);
	check("LG-171", "a buffer for frames",
	      hypercall(LHCALL_BIND_DMA, key + GUEST_SLOT * KEY_STEP, (u32)&incoming, 1 << 8 | DMA_IRQ, 0), 1);
	for (u32 number = 0; number < ECHOES; number++) {
		length = echo_frame(number, sent);
		dma_cover(&outgoing, sent, length);
		hypercall(LHCALL_SEND_DMA, key, (u32)&outgoing, 0, 0);
		if (outgoing.used_len != length)
			check("9.4", "bytes that were taken", outgoing.used_len, length);
		while (!incoming.used_len)
			hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
		echo_check("9.4", number, received, incoming.used_len);
		dma_cover(&incoming, received, PAGE);
	}
	echo_report();
}
