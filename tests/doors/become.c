/*
 * A function for GNU make: $(become words) turns make's own process into the program that the words
 * name. make knows two exit statuses of its own, 1 and 2; with this, the status of `make run` is
 * that of the machine it ran, and signals and the terminal reach the runner directly.
 *
 * The words are taken apart by a shell, as those of a recipe are.
 */
#include <gnumake.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

int plugin_is_GPL_compatible;

static char *become(const char *name, unsigned int count, char **words)
{
	sigset_t none;

	(void)name;
	(void)count;
	/* make blocks SIGCHLD while it waits, and the mask would be inherited. */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execl("/bin/sh", "sh", "-c", words[0], (char *)NULL);
	return NULL;
}

int become_gmk_setup(void);

int become_gmk_setup(void)
{
	gmk_add_function("become", become, 1, 1, GMK_FUNC_DEFAULT);
	return 1;
}
