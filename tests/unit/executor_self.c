/* Shim self with the test service. */
#include <flm/service.h>

int main(int argc, char **argv)
{
    return flm_service_run(&flm_service, argc, argv);
}
