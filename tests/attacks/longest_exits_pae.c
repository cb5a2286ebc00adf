/* expect: stop="guest powered off" status=0 */
/* A-39 with three levels, whose page directories are the guest's own. */

#include "longest_exits.c"
