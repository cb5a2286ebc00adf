void guest_main(void){}
