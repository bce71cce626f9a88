#include "dsh.h"

#include <stdlib.h>
#include <string.h>

/* "pbsdsh: task 0x00000000 exit status 265" */
int dsh_status(const char *said)
{
    static const char mark[] = " exit status ";
    const char *at = strstr(said, mark);
    return at ? atoi(at + strlen(mark)) : -1;
}
